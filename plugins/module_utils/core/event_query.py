# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which lines of the event log a person asks for. A line is rejected by its bytes wherever that is certain, and parsed only if not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .event import timestamp


@dataclass(frozen=True)
class EventQuery:
    """All that is set must hold. ``kind`` may end in ``.*`` for a family; ``since`` and ``until`` are seconds since the epoch, UTC."""

    user: str | None = None
    container: str | None = None
    gpu: str | None = None
    kind: str | None = None
    since: float | None = None
    until: float | None = None

    def needles(self) -> tuple[bytes, ...]:
        """Byte strings that every matching line contains."""
        found = []
        if self.user is not None:
            found.append(f'"user":{json.dumps(self.user)}'.encode())
        if self.kind is not None:
            found.append(f'"kind":"{self.kind[:-1]}'.encode() if self.kind.endswith(".*") else f'"kind":"{self.kind}"'.encode())
        if self.gpu is not None:
            found.append(json.dumps(self.gpu)[1:-1].encode())
        if self.container is not None:
            found.append(json.dumps(self.container)[1:-1].encode())
        return tuple(found)

    def span(self) -> tuple[bytes, bytes]:
        """The least and the greatest timestamp, as bytes that compare like times."""
        low = b"" if self.since is None else timestamp(self.since).encode()
        high = b"~" if self.until is None else timestamp(self.until).encode()
        return low, high

    def matches(self, record: dict[str, Any]) -> bool:
        """Whether a parsed line is what was asked for."""
        if self.user is not None and record.get("user") != self.user:
            return False
        kind = str(record.get("kind", ""))
        if self.kind is not None and not (kind.startswith(self.kind[:-1]) if self.kind.endswith(".*") else kind == self.kind):
            return False
        if self.container is not None and not self._names_container(record):
            return False
        return self.gpu is None or any(str(gpu).startswith(self.gpu) for gpu in record.get("gpus", ()))

    def _names_container(self, record: dict[str, Any]) -> bool:
        wanted = str(self.container)
        return record.get("container") == wanted or (len(wanted) >= 12 and str(record.get("container_id", "")).startswith(wanted))


_TIME_START = len(b'{"time":"')
_TIME_END = _TIME_START + len(b"2026-01-01T00:00:00.000Z")


def line_time(line: bytes) -> bytes:
    """The timestamp of a line, without parsing it."""
    return line[_TIME_START:_TIME_END]


def select(line: bytes, query: EventQuery, needles: tuple[bytes, ...], span: tuple[bytes, bytes]) -> dict[str, Any] | None:
    """The parsed line when it is asked for, else None. A line that is not JSON (a torn write) is never selected."""
    if not all(needle in line for needle in needles) or not span[0] <= line_time(line) <= span[1]:
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and query.matches(record) else None
