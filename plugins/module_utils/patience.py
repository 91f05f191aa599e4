# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Reads that a stranger can make wait for ever, given up after a while: a command line lies in the memory of its process, a directory may
lie in somebody's own file system, and both can be made never to answer whoever asks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Patience:
    """``seconds`` for each read; while ``most_stuck`` are still stuck, nothing more is tried. Safe for several threads."""

    def __init__(self, seconds: float = 1.0, most_stuck: int = 8) -> None:
        self._seconds = seconds
        self._most = most_stuck
        self._lock = threading.Lock()
        self._stuck = 0

    @property
    def stuck(self) -> int:
        """How many reads have not come back yet."""
        with self._lock:
            return self._stuck

    def read(self, read: Callable[[], T]) -> T | None:
        """What ``read`` gives; None when it raises OSError or takes too long."""
        with self._lock:
            if self._stuck >= self._most:
                return None
            self._stuck += 1
        found: list[T] = []

        def work() -> None:
            try:
                found.append(read())
            except OSError:
                return
            finally:
                with self._lock:
                    self._stuck -= 1

        worker = threading.Thread(target=work, name="patience", daemon=True)
        worker.start()
        worker.join(self._seconds)
        return found[0] if found else None
