# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the gate counts about itself, and how it is handed to the watcher: one small JSON document.

Counters count from the start of the gate. ``bounds`` are upper ends of the histogram's buckets in seconds; the last bucket has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VERSION = 1
BOUNDS_S: tuple[float, ...] = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
VERDICTS = ("forwarded", "answered", "refused", "failed", "gone")
"""Sent on to dockerd; answered by the gate itself; refused by a rule (4xx); not possible now (5xx); the client left first."""


@dataclass(frozen=True)
class GateMeasures:
    """``uptime`` is seconds since boot when it was written, ``started`` seconds since the epoch. ``judged`` has one count a bucket."""

    uptime: float
    started: float
    verdicts: Mapping[tuple[str, str], int]
    judged: tuple[int, ...]
    judged_seconds: float
    connections: int
    events_lost: int
    policy_ok: bool


def to_dict(found: GateMeasures) -> dict[str, Any]:
    """As JSON values; read back by ``from_dict``."""
    return {
        "v": VERSION,
        "uptime": found.uptime,
        "started": found.started,
        "verdicts": [[verdict, rule, count] for (verdict, rule), count in sorted(found.verdicts.items())],
        "judged": list(found.judged),
        "judged_seconds": found.judged_seconds,
        "connections": found.connections,
        "events_lost": found.events_lost,
        "policy_ok": found.policy_ok,
    }


def from_dict(data: Any) -> GateMeasures:
    """What ``to_dict`` wrote. Raises ValueError for anything else."""
    try:
        if data["v"] != VERSION or len(data["judged"]) != len(BOUNDS_S) + 1:
            raise ValueError(f"v={data['v']!r}: expected {VERSION}, with {len(BOUNDS_S) + 1} buckets")
        return GateMeasures(
            float(data["uptime"]),
            float(data["started"]),
            {(str(verdict), str(rule)): int(count) for verdict, rule, count in data["verdicts"]},
            tuple(int(count) for count in data["judged"]),
            float(data["judged_seconds"]),
            int(data["connections"]),
            int(data["events_lost"]),
            bool(data["policy_ok"]),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"the gate's measures are of another shape ({type(error).__name__}: {error})") from error
