# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The watcher's way to the event log: what the log does not take is said in the journal, counted, and owned up to in the log afterwards."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ds01.core.event import Event
from ds01.event_log import EventLog

_LOG = logging.getLogger("ds01.watch")
BY = "ds01-watch"


class Journal:
    """For several threads. ``clock`` gives seconds since the epoch."""

    def __init__(self, log: EventLog, clock: Callable[[], float] = time.time) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._missing = 0
        self._unwritten = 0

    @property
    def unwritten(self) -> int:
        """How many events the log has not taken since this process began."""
        return self._unwritten

    def emit(self, event: Event) -> None:
        """Append to the event log. Never raises for the log's sake."""
        with self._lock:
            try:
                if self._missing:
                    details = {"part": "event log", "state": "ok", "lost": self._missing}
                    self._log.append(Event("health.changed", self._clock(), by=BY, details=details))
                    self._missing = 0
                self._log.append(event)
            except (OSError, ValueError) as error:
                self._missing += 1
                self._unwritten += 1
                _LOG.error("event log %s: %s; lost: %s of %s", self._log.path, error, event.kind, event.container or event.user)
