# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""How much GPU everybody had lately, in GPU-equivalent-hours: who had least is served first.

Kept as GPU-equivalent-seconds by person and UTC day, which is small, adds up whatever happens, and forgets by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .claim import Claim

DAYS = 7
_DAY_S = 86400.0

Served = Mapping[int, Mapping[int, float]]
"""uid → day (whole days since the epoch, UTC) → GPU-equivalent-seconds."""


def charge(served: Served, claims: Iterable[Claim], since: float, until: float) -> Served:
    """The table with what ``claims`` held between two moments (seconds since the epoch), or since they were granted, added to it.

    Days that no longer count are dropped. A clock that went back charges nothing.
    """
    table = {uid: dict(days) for uid, days in served.items()}
    for claim in claims:
        at = max(since, claim.granted_at)
        while at < until:
            day = int(at // _DAY_S)
            end = min(until, (day + 1) * _DAY_S)
            days = table.setdefault(claim.uid, {})
            days[day] = days.get(day, 0.0) + float(claim.equivalents) * (end - at)
            at = end
    oldest = int(until // _DAY_S) - DAYS
    kept = {uid: {day: seconds for day, seconds in days.items() if day > oldest} for uid, days in table.items()}
    return {uid: days for uid, days in kept.items() if days}


def hours(served: Served, uid: int) -> float:
    """GPU-equivalent-hours of a person over the days that are kept."""
    return sum(served.get(uid, {}).values()) / 3600.0
