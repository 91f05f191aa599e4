# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Counts what the gate decides and how long it thinks, and hands that to the watcher: a small file, written every few seconds.

Nobody can make the gate work by asking for its numbers, and the watcher needs no way in to it.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ds01 import json_state
from ds01.core.gate_measures import BOUNDS_S, GateMeasures, to_dict
from ds01_gate.audit import Audit

WRITE_EVERY_S = 5.0
_MOST_RULES = 200


def verdict_of(outcome: str, status: int | None) -> tuple[str, str]:
    """The verdict and the rule to count; ``status`` is that of the gate's own answer, None where it gave none."""
    if status is None:
        return ("gone" if outcome == "client-gone" else "forwarded"), ""
    if status < 400:
        return "answered", ""
    return ("refused" if status < 500 else "failed"), outcome


class Measures:
    """One for the process. Safe for several threads. ``uptime`` gives seconds since boot."""

    def __init__(
        self,
        path: str,
        audit: Audit,
        about: Callable[[], tuple[int, int, bool]],
        uptime: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        """``about`` gives connections open, events lost, and whether the policy file is the policy in force."""
        self._path = path
        self._audit = audit
        self._about = about
        self._uptime = uptime
        self._started = time.time()
        self._lock = threading.Lock()
        self._verdicts: dict[tuple[str, str], int] = {}
        self._judged = [0] * (len(BOUNDS_S) + 1)
        self._judged_seconds = 0.0
        self._failing = False

    def answered(self, verdict: str, rule: str = "") -> None:
        """One request more: ``verdict`` is one of ``core.gate_measures.VERDICTS``."""
        with self._lock:
            key = (verdict, rule)
            if key not in self._verdicts and len(self._verdicts) >= _MOST_RULES:
                key = (verdict, "other")
            self._verdicts[key] = self._verdicts.get(key, 0) + 1

    @contextmanager
    def judging(self) -> Iterator[None]:
        """The time that a judgement takes, what it has to look up included."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - begun
            with self._lock:
                self._judged[bisect.bisect_left(BOUNDS_S, taken)] += 1
                self._judged_seconds += taken

    def now(self) -> GateMeasures:
        """Everything counted so far."""
        connections, lost, policy_ok = self._about()
        with self._lock:
            return GateMeasures(
                self._uptime(),
                self._started,
                dict(self._verdicts),
                tuple(self._judged),
                self._judged_seconds,
                connections,
                lost,
                policy_ok,
            )

    def write(self) -> None:
        """Hand it over. A file that can't be written is noted once, and stops nothing."""
        try:
            json_state.write(self._path, to_dict(self.now()), 0o600)
            self._failing = False
        except OSError as error:
            if not self._failing:
                self._failing = True
                self._audit.note("measures_failed", path=self._path, why=str(error))

    def run(self, ended: threading.Event) -> None:
        """Write every few seconds until ``ended`` is set."""
        self.write()
        while not ended.wait(WRITE_EVERY_S):
            self.write()
