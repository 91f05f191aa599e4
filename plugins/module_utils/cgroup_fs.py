# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Reads cgroup v2: what the kernel holds a slice to, whether something runs in it, which slices there are."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from .core.claim import CLAIM_ID

LIMIT_FILES = ("cpu.max", "memory.high", "memory.max", "pids.max", "io.weight", "io.max")
_GONE = (errno.ENOENT, errno.ENODEV)
_CLAIM_SLICE = re.compile(r"ds01-u(\d+)-(" + CLAIM_ID.pattern + r")\.slice")
_USER_SLICE = re.compile(r"ds01-u(\d+)\.slice")


class CgroupFs:
    """The cgroup tree mounted at ``root``. Absent files and slices are answers, not errors."""

    def __init__(self, root: Path = Path("/sys/fs/cgroup"), sys_dev_block: Path = Path("/sys/dev/block")) -> None:
        self._root = root
        self._block = sys_dev_block

    def path(self, slice_name: str) -> Path:
        """Where a slice is: a dash nests, so ``a-b.slice`` is in ``a.slice``. Raises ValueError for what is no slice's name."""
        stem, dot, kind = slice_name.rpartition(".")
        parts = stem.split("-")
        if kind != "slice" or not dot or not all(parts) or "/" in slice_name:
            raise ValueError(f"{slice_name!r} is no name of a slice")
        return self._root.joinpath(*("-".join(parts[: n + 1]) + ".slice" for n in range(len(parts))))

    def exists(self, slice_name: str) -> bool:
        """True when the slice has a cgroup."""
        return self.path(slice_name).is_dir()

    def limits(self, slice_name: str) -> dict[str, str]:
        """Name → content of the limit files that the kernel has for this slice."""
        return self._read(self.path(slice_name), LIMIT_FILES)

    def populated(self, slice_name: str) -> bool:
        """True when a process runs in it or below. Raises OSError where the kernel does not say."""
        try:
            return "populated 1" in (self.path(slice_name) / "cgroup.events").read_text().splitlines()
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise

    def kill(self, slice_name: str) -> None:
        """Kill every process in it and below, those that are just being made too; nothing when it is gone. Raises OSError."""
        path = self.path(slice_name)
        try:
            # Opened without creating: where the kernel has no such file, that is an error and not a new file.
            handle = os.open(path / "cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _GONE and not path.is_dir():
                return
            raise
        try:
            os.write(handle, b"1")
        except OSError as error:
            if error.errno not in _GONE:
                raise
        finally:
            os.close(handle)

    def user_slices(self) -> list[int]:
        """The uids that have a slice, in numeric order."""
        found = (_USER_SLICE.fullmatch(name) for name in self._directories(self._root / "ds01.slice"))
        return sorted(int(m.group(1)) for m in found if m is not None)

    def claim_slices(self) -> list[tuple[int, str]]:
        """(uid, claim id) of every claim's slice, in order."""
        found: list[tuple[int, str]] = []
        for uid in self.user_slices():
            for name in self._directories(self._root / "ds01.slice" / f"ds01-u{uid}.slice"):
                match = _CLAIM_SLICE.fullmatch(name)
                if match is not None and int(match.group(1)) == uid:
                    found.append((uid, match.group(2)))
        return sorted(found)

    def disks(self, paths: Iterable[str]) -> tuple[str, ...]:
        """``MAJ:MIN`` of the whole disks below these paths, the ones that systemd sets bandwidths for; none for tmpfs and overlays."""
        found: list[str] = []
        for path in paths:
            try:
                at = os.stat(path)
            except OSError:
                continue
            number = f"{os.major(at.st_dev)}:{os.minor(at.st_dev)}"
            entry = (self._block / number).resolve()
            if not entry.is_dir():
                continue
            if (entry / "partition").exists():
                number = (entry.parent / "dev").read_text().strip()
            if number not in found:
                found.append(number)
        return tuple(found)

    @staticmethod
    def _read(directory: Path, names: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in names:
            try:
                found[name] = (directory / name).read_text()
            except OSError:
                continue
        return found

    @staticmethod
    def _directories(path: Path) -> list[str]:
        try:
            with os.scandir(path) as entries:
                return [e.name for e in entries if e.is_dir(follow_symlinks=False)]
        except OSError:
            return []
