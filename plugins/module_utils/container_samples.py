# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Samples of running containers from the kernel alone: where each one's cgroup is, its CPU time, its processes, what it has received."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .proc_facts import start_ticks

_SCOPE = re.compile(r"(?:docker-)?([0-9a-f]{64})(?:\.scope)?")
_PIDS_READ = 16
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Life:
    """A running container as the kernel sees it. ``run`` names this start of it (another start has another cgroup); ``started`` is seconds
    since boot, None where not known; ``pid`` is its oldest process."""

    cgroup: str
    run: str
    pid: int | None
    started: float | None
    cpu_seconds: float | None
    network_bytes: int | None


def container_cgroups(root: Path = Path("/sys/fs/cgroup")) -> dict[str, str]:
    """The cgroup path (as /proc/PID/cgroup has it) of every container of dockerd. Only slices are searched, not what is in services."""
    found: dict[str, str] = {}
    waiting = [""]
    while waiting:
        path = waiting.pop()
        try:
            with os.scandir(f"{root}{path}") as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        for name in names:
            match = _SCOPE.fullmatch(name)
            if match:
                found[match.group(1)] = f"{path}/{name}"
            elif name.endswith(".slice") or (not path and name == "docker"):
                waiting.append(f"{path}/{name}")
    return found


def life(cgroup: str, root: Path = Path("/sys/fs/cgroup"), proc: str = "/proc") -> Life | None:
    """The container in that cgroup; None when it is gone by now."""
    directory = f"{root}{cgroup}"
    try:
        number = os.stat(directory).st_ino
    except OSError:
        return None
    oldest = min(((start, pid) for pid in _pids(directory) if (start := _started(pid, proc)) is not None), default=None)
    started, pid = oldest if oldest else (None, None)
    return Life(cgroup, str(number), pid, started, _cpu(directory), None if pid is None else _received(pid, proc))


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read()
    except OSError:
        return None


def _pids(directory: str) -> list[int]:
    """Some processes of the cgroup: the first of its own, or where it has none (an init system in the container) of those below."""
    own = _read(f"{directory}/cgroup.procs")
    if own and own.strip():
        return [int(word) for word in own.split()[:_PIDS_READ]]
    try:
        below = sorted(entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
    found: list[int] = []
    for path in below[:_PIDS_READ]:
        found += [int(word) for word in (_read(f"{path}/cgroup.procs") or "").split()[:_PIDS_READ]]
    return found


def _started(pid: int, proc: str) -> float | None:
    text = _read(f"{proc}/{pid}/stat")
    try:
        return None if text is None else start_ticks(text) / _TICKS
    except (ValueError, IndexError):
        return None


def _cpu(directory: str) -> float | None:
    for line in (_read(f"{directory}/cpu.stat") or "").splitlines():
        key, _, value = line.partition(" ")
        if key == "usage_usec" and value.isdigit():
            return int(value) / 1e6
    return None


def _received(pid: int, proc: str) -> int | None:
    """Bytes received on all interfaces of the process's network namespace but lo (proc_pid_net(5): the first number after the name)."""
    text = _read(f"{proc}/{pid}/net/dev")
    if text is None:
        return None
    total = 0
    for line in text.splitlines()[2:]:
        name, colon, numbers = line.partition(":")
        words = numbers.split()
        if colon and name.strip() != "lo" and words and words[0].isdigit():
            total += int(words[0])
    return total
