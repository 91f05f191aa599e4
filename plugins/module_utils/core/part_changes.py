# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""When a part of the platform came to fail, and for how long it did: events that state a gap, and none for a moment's silence.

Times of gaps are taken from the seconds since boot, which no change of the clock touches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .event import Event, timestamp

BY = "ds01-watch"
CLOCK_STEP_S = 2.0


@dataclass(frozen=True)
class Part:
    """How a part fares: ``why`` it is away, None when it answers. It is said to be away when it has been for ``patience`` seconds."""

    why: str | None
    patience: float = 0.0


@dataclass(frozen=True)
class Lapse:
    """Since when a part is away: seconds since boot, seconds since the epoch; whether that was said."""

    uptime: float
    at: float
    said: bool


@dataclass(frozen=True)
class Parts:
    """What was known at the last look. ``offset``: wall clock less seconds since boot."""

    lapses: Mapping[str, Lapse] = field(default_factory=dict)
    offset: float | None = None


def part_changes(before: Parts, now: Mapping[str, Part], at: float, uptime: float) -> tuple[list[Event], Parts]:
    """The events of this look, and what to remember. ``at``: seconds since the epoch; ``uptime``: since boot."""
    events: list[Event] = []
    lapses: dict[str, Lapse] = {}
    offset = at - uptime
    if before.offset is not None and abs(offset - before.offset) >= CLOCK_STEP_S:
        step = round(offset - before.offset, 1)
        events.append(_event(at, {"part": "clock", "state": f"stepped by {step:+g} s", "step_s": step}))
    for name, part in sorted(now.items()):
        lapse = before.lapses.get(name)
        if part.why is None:
            if lapse is not None and lapse.said:
                gap = {"away_s": round(uptime - lapse.uptime, 1), "away_from": timestamp(lapse.at)}
                events.append(_event(at, {"part": name, "state": "ok", **gap}))
            continue
        lapse = lapse or Lapse(uptime, at, False)
        if not lapse.said and uptime - lapse.uptime >= part.patience:
            events.append(_event(at, {"part": name, "state": f"away: {part.why}", "away_from": timestamp(lapse.at)}))
            lapse = Lapse(lapse.uptime, lapse.at, True)
        lapses[name] = lapse
    return events, Parts(lapses, offset)


def _event(at: float, details: Mapping[str, object]) -> Event:
    return Event("health.changed", at, by=BY, details=details)
