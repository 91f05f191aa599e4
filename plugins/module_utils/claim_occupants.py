# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whether a claim's container still has a living process, whatever dockerd says of it, and the end of such processes.

dockerd may be killed between the start of a container's process and the moment at which it writes that down: it then says that the
container does not run, and the process lives and has its GPU open. The kernel is asked, not dockerd.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from .cgroup_fs import CgroupFs
from .core.claim import Claim
from .core.slice_names import claim_slice

_CONTAINER = re.compile(r"[/-]([0-9a-f]{64})(?:\.scope)?(?=[/ ]|$)", re.MULTILINE)
_DEAD = frozenset("ZX")


class Occupants(Protocol):
    """Processes of claims' containers. Both calls raise OSError where the kernel can't be asked: nothing is known then."""

    def living(self, claims: Iterable[Claim]) -> frozenset[str]:
        """The ids of those claims whose container has a living process."""

    def end(self, claim: Claim) -> None:
        """Kill the processes of that claim's container, and of no other."""


class SliceOccupants:
    """For hosts where each claim's container is alone in the claim's slice: one small file a claim is read."""

    def __init__(self, cgroups: CgroupFs) -> None:
        self._cgroups = cgroups

    def living(self, claims: Iterable[Claim]) -> frozenset[str]:
        return frozenset(claim.id for claim in claims if self._cgroups.populated(claim_slice(claim.uid, claim.id)))

    def end(self, claim: Claim) -> None:
        self._cgroups.kill(claim_slice(claim.uid, claim.id))


class ProcOccupants:
    """For hosts without slices: every process's cgroup is read, once for all claims asked about. Names of both cgroup versions count."""

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._root = root

    def living(self, claims: Iterable[Claim]) -> frozenset[str]:
        wanted = {claim.container_id: claim.id for claim in claims}
        return frozenset(wanted[container] for _pid, container in self._processes(wanted)) if wanted else frozenset()

    def end(self, claim: Claim) -> None:
        """By file descriptors of processes, looked at once more after they were opened: a pid that is used again is never hit."""
        for pid, _container in self._processes({claim.container_id: claim.id}):
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(pid)
                try:
                    if claim.container_id in self._containers(pid):
                        signal.pidfd_send_signal(handle, signal.SIGKILL)
                finally:
                    os.close(handle)

    def _processes(self, wanted: Mapping[str, str]) -> Iterator[tuple[int, str]]:
        """Pid and container of every living process of these containers."""
        for name in os.listdir(self._root):
            if name.isdigit():
                for container in self._containers(int(name)):
                    if container in wanted and self._lives(name):
                        yield int(name), container

    def _containers(self, pid: int) -> list[str]:
        try:
            return list(dict.fromkeys(_CONTAINER.findall((self._root / str(pid) / "cgroup").read_text(errors="replace"))))
        except (FileNotFoundError, ProcessLookupError):
            return []

    def _lives(self, pid: str) -> bool:
        """One of its threads does: the first may have ended before the others."""
        try:
            return any(self._state(f"{pid}/task/{thread}") not in _DEAD for thread in os.listdir(self._root / pid / "task"))
        except (FileNotFoundError, ProcessLookupError):
            return False

    def _state(self, thread: str) -> str:
        """Field 3 of /proc/PID/stat (proc_pid_stat(5)); ``X`` for one that is gone."""
        try:
            return (self._root / thread / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return "X"
