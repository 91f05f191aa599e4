# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Reads what /proc says about a process. A process that ends while it is read is no error: the answer is None."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .core.cgroup_path import path_of

_UNSET = 4294967295
_MOST_COMMAND = 4096


@dataclass(frozen=True)
class ProcFacts:
    """``start_ticks`` (clock ticks since boot) makes the pid an identity; ``login_uid`` None where the kernel has none."""

    pid: int
    start_ticks: int
    uid: int
    login_uid: int | None
    cgroup_path: str
    command: str
    executable: str


def read_process(pid: int, root: str = "/proc", *, memory: bool = True) -> ProcFacts | None:
    """The process with that pid, or None when there is none (any more).

    ``memory`` False leaves the process's memory alone: ``command`` is then what the kernel calls it. To read a command line is to read
    the memory where it lies, which its owner can make wait for ever.
    """
    base = f"{root}/{pid}"
    try:
        uid = os.stat(base).st_uid
        start = start_ticks(_text(f"{base}/stat"))
        cgroup = path_of(_text(f"{base}/cgroup"))
        command = (command_line(pid, root) if memory else "") or f"[{_text(f'{base}/comm').strip()}]"
        login = int(_text(f"{base}/loginuid") or _UNSET)
    except (OSError, ValueError, IndexError):
        return None
    try:
        executable = os.readlink(f"{base}/exe")
    except OSError:
        executable = ""
    return ProcFacts(pid, start, uid, None if login == _UNSET else login, cgroup, command, executable)


def command_line(pid: int, root: str = "/proc") -> str:
    """The command line, its first pages at most; "" for a process of the kernel's. Raises OSError, and may wait for ever."""
    with open(f"{root}/{pid}/cmdline", "rb") as stream:
        return stream.read(_MOST_COMMAND).decode("utf-8", "replace").replace("\0", " ").strip()


def start_ticks(stat: str) -> int:
    """Field 22 of /proc/PID/stat (proc_pid_stat(5)); the name before it may hold blanks and parentheses."""
    return int(stat.rpartition(")")[2].split()[19])


def cgroup_of(pid: int, root: str = "/proc") -> str:
    """The cgroup v2 path of a process; "" when it is gone."""
    try:
        return path_of(_text(f"{root}/{pid}/cgroup"))
    except OSError:
        return ""


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()
