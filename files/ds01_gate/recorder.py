# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Writes what the gate did to the event log, behind the backs of the requests: a full disk or a held lock stops none of them.

An event that the log does not take is lost; the first of a row of losses is noted in the audit, and all of them are counted.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ds01.core.claim import Claim
from ds01.core.event import Event, timestamp
from ds01.event_log import EventLog
from ds01_gate.audit import Audit

BY = "ds01-gate"
_MOST_WAITING = 10_000


class Recorder:
    """One for the process. ``clock`` gives seconds since the epoch, UTC. Safe for several threads."""

    def __init__(self, log: EventLog, audit: Audit, clock: Callable[[], float] = time.time, most_waiting: int = _MOST_WAITING) -> None:
        self._log = log
        self._audit = audit
        self._clock = clock
        self._waiting: queue.Queue[Event | None] = queue.Queue(most_waiting)
        self._writer: threading.Thread | None = None
        self._lock = threading.Lock()
        self._failing = False
        self._lost = 0

    @property
    def lost(self) -> int:
        """How many events the log has not taken since this process began."""
        with self._lock:
            return self._lost

    def start(self) -> None:
        """Begin to write; what was recorded before waits for it."""
        self._writer = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._writer.start()

    def stop(self, seconds: float = 2.0) -> None:
        """Write what waits, for at most so long."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            self._waiting.put(None, timeout=seconds)
        except queue.Full:
            return
        writer.join(seconds)

    def record(
        self,
        kind: str,
        *,
        user: str | None = None,
        uid: int | None = None,
        container: str | None = None,
        container_id: str | None = None,
        gpus: tuple[str, ...] = (),
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """One event, now. Never waits, never raises for the log's sake; ``kind`` is one of ``core.event.KINDS``."""
        event = Event(kind, self._clock(), user, uid, container, container_id, gpus, BY, details or {})
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._failed(f"{self._waiting.maxsize} events wait for the log")

    def claim(self, kind: str, claim: Claim, **details: Any) -> None:
        """An event about a claim: what it holds and since when stands in each, so that one alone tells the GPU-hours."""
        held = {
            "claim": claim.id,
            "devices": [device.key for device in claim.devices],
            "equivalents": [str(device.equivalents) for device in claim.devices],
            "granted_at": timestamp(claim.granted_at),
        }
        self.record(
            kind,
            user=claim.user,
            uid=claim.uid,
            container=claim.container_name,
            container_id=claim.container_id,
            gpus=tuple(dict.fromkeys(device.gpu_uuid for device in claim.devices)),
            details={**held, **details},
        )

    def _write(self) -> None:
        while (event := self._waiting.get()) is not None:
            try:
                self._log.append(event)
            except (OSError, ValueError) as error:
                self._failed(str(error))
            else:
                self._failing = False

    def _failed(self, why: str) -> None:
        with self._lock:
            self._lost += 1
        if not self._failing:
            self._failing = True
            self._audit.note("event_log_failed", path=self._log.path, why=why)
