# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Writes to people's terminals as root: every /dev/pts/N that belongs to a uid. Needs no utmp, which newer systems do not have.

A terminal that is not read from, gone, or not a terminal at all costs nothing: opening and writing never block.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

PTS = "/dev/pts"
_PTY_MAJORS = range(136, 144)  # Linux, Documentation/admin-guide/devices.txt: Unix98 PTY slaves


def terminals(directory: str = PTS) -> dict[int, list[str]]:
    """The terminals of each uid."""
    found: dict[int, list[str]] = {}
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return {}
    for entry in entries:
        try:
            if entry.name.isdigit():
                found.setdefault(entry.stat(follow_symlinks=False).st_uid, []).append(entry.path)
        except OSError:
            continue
    return found


def write(paths: Iterable[str], uid: int, line: str) -> int:
    """Write a line (free of control characters) to those of the terminals that still belong to ``uid``; how many took it."""
    data = f"\r\n{line}\r\n".encode()
    return sum(_write_one(path, uid, data) for path in paths)


def _write_one(path: str, uid: int, data: bytes) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISCHR(about.st_mode) or os.major(about.st_rdev) not in _PTY_MAJORS or about.st_uid != uid:
            return False
        return os.write(descriptor, data) > 0
    except OSError:
        return False
    finally:
        os.close(descriptor)
