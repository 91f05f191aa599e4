# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a file says, parsed again only when the file was replaced or changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class FileCache(Generic[T]):
    """``get()`` is ``parse(path)``, remembered by the file's inode, size and times. Errors of ``parse`` are not remembered."""

    def __init__(self, path: Path, parse: Callable[[Path], T]) -> None:
        self._path = path
        self._parse = parse
        self._seen: tuple[tuple[int, ...], T] | None = None

    def get(self) -> T:
        """The parsed content; raises what ``parse`` raises, also for an absent file."""
        try:
            at = os.stat(self._path)
        except OSError:
            self._seen = None
            return self._parse(self._path)
        stamp = (at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)
        seen = self._seen
        if seen is not None and seen[0] == stamp:
            return seen[1]
        value = self._parse(self._path)
        self._seen = (stamp, value)
        return value
