# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""How much one person may ask of the gate at once: connections, containers made in a minute, builds; and who waits for whom."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ds01.core.refusal import Refusal

_MINUTE = 60.0


class Gauge:
    """Counts what a uid has open. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, int] = {}

    def take(self, uid: int, limit: int) -> bool:
        """Count one more, unless ``limit`` are open."""
        with self._lock:
            if self._open.get(uid, 0) >= limit:
                return False
            self._open[uid] = self._open.get(uid, 0) + 1
            return True

    def give(self, uid: int) -> None:
        """One less."""
        with self._lock:
            self._open[uid] -= 1
            if not self._open[uid]:
                del self._open[uid]

    @property
    def total(self) -> int:
        """How many are open over all people."""
        with self._lock:
            return sum(self._open.values())


class Traffic:
    """The limits that policy's ``gate`` section sets, and a lock for each person."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.connections = Gauge()
        self._builds = Gauge()
        self._clock = clock
        self._lock = threading.Lock()
        self._created: dict[int, deque[float]] = {}
        self._turns: dict[int, threading.RLock] = {}

    def turn(self, uid: int) -> threading.RLock:
        """The lock under which requests of that person that count or take names are judged and forwarded."""
        with self._lock:
            return self._turns.setdefault(uid, threading.RLock())

    def count_create(self, uid: int, limit: int) -> None:
        """One container more in this minute; raises Refusal (429) above ``limit``."""
        now = self._clock()
        with self._lock:
            times = self._created.setdefault(uid, deque())
            while times and times[0] <= now - _MINUTE:
                times.popleft()
            if len(times) >= limit:
                wait = int(times[0] + _MINUTE - now) + 1
                why = f"you have created {limit} containers within a minute, the limit"
                raise Refusal("another container", why, f"Try again in {wait} s.", rule="creates-per-minute", status=429)
            times.append(now)

    @contextmanager
    def building(self, uid: int, limit: int) -> Iterator[None]:
        """A build for as long as the block runs; raises Refusal (429) above ``limit``."""
        if not self._builds.take(uid, limit):
            raise Refusal("another build", f"{limit} builds of yours run, the limit", "Wait for one to end.", rule="builds", status=429)
        try:
            yield
        finally:
            self._builds.give(uid)
