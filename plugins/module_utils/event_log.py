# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Appends to and reads the event log, /var/log/ds01/events.jsonl (root's, mode 0640), and tells the journal the same.

Every append opens the file anew under a lock beside it, so that a rotation between two events loses none and no process
keeps writing to a file that was moved away. The lock is root's alone: who may read the log must not be able to hold it up.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import os
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO, cast

from . import journald
from .core.event import Event, line
from .core.event_query import EventQuery
from .event_blocks import matching, matching_stream

EVENT_LOG = "/var/log/ds01/events.jsonl"
_LOCK_SUFFIX = ".lock"
_MODE = 0o640
_LOCK_MODE = 0o600


class EventLog:
    """The log at ``path``. ``journal`` is the journal's socket, None for a log that the journal is not told of."""

    def __init__(self, path: str = EVENT_LOG, journal: str | None = None) -> None:
        self.path = path
        self._journal = journal or (journald.SOCKET if path == EVENT_LOG else None)

    def append(self, event: Event) -> None:
        """Write one event. Raises OSError when it cannot be written whole (a full disk): nothing of it is left then, and the journal
        has it all the same."""
        data = line(event)
        if self._journal is not None:
            fields = {"MESSAGE": data.decode().rstrip("\n"), "PRIORITY": "6", "SYSLOG_IDENTIFIER": "ds01-event", "DS01_KIND": event.kind}
            if event.user:
                fields["DS01_USER"] = event.user
            journald.send(fields, self._journal)
        lock = os.open(self.path + _LOCK_SUFFIX, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _LOCK_MODE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._write(data)
        finally:
            os.close(lock)

    def _write(self, data: bytes) -> None:
        descriptor = self._open()
        try:
            before = os.fstat(descriptor).st_size
            try:
                written = os.write(descriptor, data)
            except OSError:
                os.ftruncate(descriptor, before)
                raise
            if written != len(data):
                os.ftruncate(descriptor, before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        """The log, open for appending; a new one belongs to the group of its directory, as a rotated one does."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self.path, flags)
        except FileNotFoundError:
            descriptor = os.open(self.path, flags | os.O_CREAT, _MODE)
            if os.geteuid() == 0:
                os.fchown(descriptor, 0, os.stat(os.path.dirname(self.path) or ".").st_gid)
                os.fchmod(descriptor, _MODE)
            return descriptor

    def files(self) -> list[str]:
        """The log and its rotated predecessors, oldest first (logrotate's names: events.jsonl.1, events.jsonl-20260101.gz)."""
        return self._rotated() + ([self.path] if os.path.exists(self.path) else [])

    def _rotated(self, besides: int | None = None) -> list[str]:
        """The predecessors, oldest first, without the one of that inode."""
        directory, name = os.path.split(self.path)
        found = []
        for entry in os.scandir(directory or "."):
            if entry.name != name and entry.name.startswith((name + ".", name + "-")) and not entry.name.endswith(_LOCK_SUFFIX):
                with contextlib.suppress(FileNotFoundError):  # compressed meanwhile: the file beside it has the same
                    at = entry.stat()
                    if at.st_ino != besides:
                        found.append((at.st_mtime_ns, entry.path))
        return [path for _, path in sorted(found)]

    def _newest(self) -> BinaryIO | None:
        """The log itself; opened before its directory is listed, so that a rotation in between hides nothing."""
        try:
            return open(self.path, "rb")
        except FileNotFoundError:
            return None

    def read(self, query: EventQuery) -> Iterator[dict[str, Any]]:
        """The events that ``query`` asks for, oldest first. Files that end before ``query.since`` are not opened."""
        newest = self._newest()
        with newest or contextlib.nullcontext():
            for path in self._rotated(None if newest is None else os.fstat(newest.fileno()).st_ino):
                if not _too_old(path, query):
                    with _opened(path) as stream:
                        yield from matching_stream(stream, query) if path.endswith(".gz") else matching(stream, query)
            if newest is not None:
                yield from matching(newest, query)

    def last(self, query: EventQuery, count: int) -> list[dict[str, Any]]:
        """The last ``count`` events that ``query`` asks for, oldest first: read from the end, and no further than to the first of them."""
        found: list[dict[str, Any]] = []
        newest = self._newest()
        with newest or contextlib.nullcontext():
            if newest is not None:
                found += islice(matching(newest, query, backward=True), count)
            for path in reversed(self._rotated(None if newest is None else os.fstat(newest.fileno()).st_ino)):
                wanting = count - len(found)
                if wanting <= 0 or _too_old(path, query):
                    break
                with _opened(path) as stream:
                    if path.endswith(".gz"):
                        found += reversed(deque(matching_stream(stream, query), maxlen=wanting))
                    else:
                        found += islice(matching(stream, query, backward=True), wanting)
        return found[::-1]


def _opened(path: str) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.endswith(".gz") else open(path, "rb")


def _too_old(path: str, query: EventQuery) -> bool:
    """Whether a rotated file was written last before the span begins."""
    return query.since is not None and os.stat(path).st_mtime < query.since
