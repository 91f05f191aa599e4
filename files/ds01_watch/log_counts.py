# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Counts the events that anybody writes to the event log, by following it: what a metric says and what the log says is one thing.

It begins at the log's end, so that what was counted before a restart is not counted again; a rotated file is read to its end.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from typing import BinaryIO

from ds01.core.event import KINDS

_PIECE = 1 << 20
_MOST_PIECES = 16
_MOST_RULES = 100
_ACTIONS = ("warned", "withdrawn", "failed", "stopped", "removed")


class LogCounts:
    """``read`` is called by one thread; the counters may be copied by others at any time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stream: BinaryIO | None = None
        self._rest = b""
        self._lock = threading.Lock()
        self._kinds: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
        self._refusals: Counter[str] = Counter()
        self._actions: Counter[tuple[str, str]] = Counter()
        if self._open():
            self._seek_end()

    def kinds(self) -> dict[str, int]:
        """Events by kind, every kind."""
        with self._lock:
            return dict(self._kinds)

    def refusals(self) -> dict[str, int]:
        """Refused requests for GPUs, by rule."""
        with self._lock:
            return dict(self._refusals)

    def actions(self) -> dict[tuple[str, str], int]:
        """What the lifecycle did, by (action, reason)."""
        with self._lock:
            return dict(self._actions)

    def size(self) -> int | None:
        """Bytes of the log, None where there is none."""
        try:
            return os.stat(self._path).st_size
        except OSError:
            return None

    def read(self) -> None:
        """Count what was appended since the last call (at most 16 MiB a call; the rest waits). Never raises for the log's sake."""
        try:
            if self._stream is None and not self._open():
                return
            moved = self._moved()
            if not self._count_rest() and moved:
                self._close()
                if self._open():
                    self._count_rest()
        except OSError:
            self._close()

    def _open(self) -> bool:
        try:
            self._stream = open(self._path, "rb", buffering=0)  # noqa: SIM115 - it stays open until the log is rotated
        except OSError:
            return False
        return True

    def _seek_end(self) -> None:
        if self._stream is not None:
            self._stream.seek(0, os.SEEK_END)

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream, self._rest = None, b""

    def _moved(self) -> bool:
        """Whether the log at the path is another file by now, or shorter than what was read of it."""
        if self._stream is None:
            return True
        own = os.fstat(self._stream.fileno())
        if self._stream.tell() > own.st_size:
            self._stream.seek(0, os.SEEK_END)
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        return (own.st_dev, own.st_ino) != (there.st_dev, there.st_ino)

    def _count_rest(self) -> bool:
        """Count to the end of the open file; True when more is left for the next call."""
        for _ in range(_MOST_PIECES):
            piece = b"" if self._stream is None else self._stream.read(_PIECE)
            if not piece:
                return False
            *lines, self._rest = (self._rest + piece).split(b"\n")
            if len(self._rest) > _PIECE:
                self._rest = b""
            for line in lines:
                self._count(line)
        return True

    def _count(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            kind, details = record["kind"], record.get("details") or {}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return
        if kind not in KINDS or not isinstance(details, dict):
            return
        family, _, action = kind.partition(".")
        with self._lock:
            self._kinds[kind] += 1
            if kind == "claim.refused":
                rule = str(details.get("rule", ""))
                known = rule in self._refusals or len(self._refusals) < _MOST_RULES
                self._refusals[rule if known else "other"] += 1
            elif family == "lifecycle" and action in _ACTIONS:
                reason = str(details.get("why", ""))
                known = (action, reason) in self._actions or len(self._actions) < _MOST_RULES
                self._actions[action, reason if known else "other"] += 1
