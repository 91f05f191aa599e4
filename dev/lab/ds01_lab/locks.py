# SPDX-License-Identifier: MIT
"""Locks between processes: a build, one server's life, and the store of levels are each worked on by one process at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Holds the lock of that file; waits for it without limit. It is freed when the process ends, however that happens."""
    with open(path, "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
