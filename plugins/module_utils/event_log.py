# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Appends to and reads the event log, /var/log/ds01/events.jsonl (root's, mode 0640).

Every append opens the file anew under a lock beside it, so that a rotation between two events loses none and no process
keeps writing to a file that was moved away.
"""

from __future__ import annotations

import fcntl
import gzip
import os
from collections import deque
from collections.abc import Iterator
from typing import Any

from .core.event import Event, line
from .core.event_query import EventQuery, select

EVENT_LOG = "/var/log/ds01/events.jsonl"
_LOCK_SUFFIX = ".lock"
_MODE = 0o640


class EventLog:
    """The log at ``path``."""

    def __init__(self, path: str = EVENT_LOG) -> None:
        self.path = path

    def append(self, event: Event) -> None:
        """Write one event. Raises OSError when it cannot be written whole (a full disk): nothing of it is left then."""
        data = line(event)
        with open(self.path + _LOCK_SUFFIX, "a", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
            try:
                before = os.fstat(descriptor).st_size
                try:
                    written = os.write(descriptor, data)
                except OSError:
                    os.ftruncate(descriptor, before)
                    raise
                if written != len(data):
                    os.ftruncate(descriptor, before)
                    raise OSError(28, "No space left on device", self.path)
            finally:
                os.close(descriptor)

    def files(self) -> list[str]:
        """The log and its rotated predecessors, oldest first (logrotate's names: events.jsonl.1, events.jsonl-20260101.gz)."""
        directory, name = os.path.split(self.path)
        found = []
        for entry in os.scandir(directory or "."):
            if entry.name != name and entry.name.startswith((name + ".", name + "-")) and not entry.name.endswith(_LOCK_SUFFIX):
                found.append((entry.stat().st_mtime_ns, entry.path))
        return [path for _, path in sorted(found)] + ([self.path] if os.path.exists(self.path) else [])

    def read(self, query: EventQuery) -> Iterator[dict[str, Any]]:
        """The events that ``query`` asks for, oldest first. Files that end before ``query.since`` are not opened."""
        for path in self.files():
            yield from self._read_file(path, query)

    def last(self, query: EventQuery, count: int) -> list[dict[str, Any]]:
        """The last ``count`` events that ``query`` asks for, oldest first. Older files are opened only while some are wanting."""
        found: list[dict[str, Any]] = []
        for path in reversed(self.files()):
            wanting = count - len(found)
            if wanting <= 0:
                break
            found = [*deque(self._read_file(path, query), maxlen=wanting), *found]
        return found

    def _read_file(self, path: str, query: EventQuery) -> Iterator[dict[str, Any]]:
        needles, span = query.needles(), query.span()
        if query.since is not None and path != self.path and os.stat(path).st_mtime < query.since:
            return
        with gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb") as stream:
            for raw in stream:
                record = select(raw, query, needles, span)
                if record is not None:
                    yield record
