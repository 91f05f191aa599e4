# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a person is told of their GPU-hours: this week and this month, how well they were used, and how the lab does. Pure.

Efficiency is hours used over hours measurable: a GPU under MIG does not tell its utilisation, so its hours count for neither. The lab's
median is over people, and is not told while it is made of so few that it would tell of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from statistics import median
from typing import Any

MEASURED_H = 0.1
"""Fewer measurable hours than this make no efficiency."""
FEW = 3
SPANS = ("week", "month")


@dataclass(frozen=True)
class Hours:
    """GPU-equivalent-hours by person in one span: held, used of what can be measured, and measurable."""

    held: Mapping[str, float] = field(default_factory=dict)
    used: Mapping[str, float] = field(default_factory=dict)
    measurable: Mapping[str, float] = field(default_factory=dict)

    def efficiency(self, user: str) -> float | None:
        """Between 0 and 1; None where too little was measurable."""
        measurable = self.measurable.get(user, 0.0)
        return None if measurable < MEASURED_H else min(1.0, max(0.0, self.used.get(user, 0.0) / measurable))

    def median(self) -> float | None:
        """Of the efficiencies of all people; None for fewer than ``FEW``."""
        found = [one for user in self.measurable if (one := self.efficiency(user)) is not None]
        return None if len(found) < FEW else median(found)


def begins(now: float) -> dict[str, float]:
    """When the present week (on Monday) and month began, UTC; seconds since the epoch."""
    day = datetime.fromtimestamp(now, timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    return {"week": (day - timedelta(days=day.weekday())).timestamp(), "month": day.replace(day=1).timestamp()}


def for_everybody(spans: Mapping[str, Hours], now: float, source: str) -> dict[str, Any]:
    """What everybody may know: when and from what it was made, since when it counts, and the medians."""
    since = begins(now)
    return {
        "v": 1,
        "time": now,
        "source": source,
        "spans": {name: {"since": since[name], "median": _rounded(hours.median())} for name, hours in spans.items()},
    }


def for_person(spans: Mapping[str, Hours], user: str) -> dict[str, Any]:
    """What one person may know of themselves."""
    told = {name: {"hours": round(one.held.get(user, 0.0), 2), "efficiency": _rounded(one.efficiency(user))} for name, one in spans.items()}
    return {"v": 1, "user": user, "spans": told}


def people(spans: Mapping[str, Hours]) -> set[str]:
    """Everybody of whom there is something to tell."""
    return {user for one in spans.values() for user in one.held}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
