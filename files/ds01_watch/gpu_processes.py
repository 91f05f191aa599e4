# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What /proc says of the processes that NVML names. What cannot change is read once for each process; its memory is read with patience."""

from __future__ import annotations

import functools
from typing import Any

from ds01.core.workload_facts import ProcessFacts
from ds01.patience import Patience
from ds01.proc_facts import command_line, read_process


class GpuProcesses:
    """For one thread."""

    def __init__(self, root: str = "/proc") -> None:
        self._root = root
        self._patience = Patience(0.5)
        self._commands: dict[tuple[int, int], str] = {}

    def of(self, look: dict[str, Any] | None) -> tuple[ProcessFacts, ...]:
        """The processes of a look of the NVML worker; one that is gone by now is left out."""
        found = []
        commands: dict[tuple[int, int], str] = {}
        for uuid, entry in (look or {"gpus": {}})["gpus"].items():
            for pid, instance, memory in entry["processes"]:
                facts = read_process(pid, self._root, memory=False)
                if facts is None:
                    continue
                key = (pid, facts.start_ticks)
                command = commands[key] = self._commands.get(key) or commands.get(key) or self._command(pid) or facts.command
                found.append(
                    ProcessFacts(
                        pid,
                        facts.start_ticks,
                        facts.uid,
                        facts.login_uid,
                        facts.cgroup_path,
                        command,
                        facts.executable,
                        uuid,
                        instance,
                        memory,
                    )
                )
        self._commands = commands
        return tuple(found)

    def _command(self, pid: int) -> str | None:
        return self._patience.read(functools.partial(command_line, pid, self._root))
