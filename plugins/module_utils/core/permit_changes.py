# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What an administrator gave and took between two looks at the files that say so: reservations, and GPUs outside containers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .bare_metal import Grant
from .event import Event, timestamp
from .reservation import Reservation

BY = "ds01-watch"


@dataclass(frozen=True)
class Permits:
    """Those in force, or to come, at the last look."""

    reservations: tuple[Reservation, ...]
    grants: tuple[Grant, ...]


def in_force(reservations: Iterable[Reservation], grants: Iterable[Grant], now: float) -> Permits:
    """Those that are not over."""
    return Permits(tuple(one for one in reservations if now < one.end), tuple(one for one in grants if one.holds(now)))


def permit_changes(before: Permits | None, after: Permits, now: float) -> list[Event]:
    """The events between two looks. Without an earlier one there is nothing to compare with, and no event."""
    if before is None:
        return []
    events: list[Event] = []
    had, have = {one.id: one for one in before.reservations}, {one.id: one for one in after.reservations}
    events += [_reserved("reservation.ended", one, now, _over(one.end, now)) for name, one in had.items() if name not in have]
    events += [_reserved("reservation.made", one, now, None) for name, one in have.items() if had.get(name) != one]
    got, get = {one.uid: one for one in before.grants}, {one.uid: one for one in after.grants}
    events += [_granted("grant.ended", one, now, _over(one.until, now)) for uid, one in got.items() if uid not in get]
    events += [_granted("grant.made", one, now, None) for uid, one in get.items() if got.get(uid) != one]
    return events


def _over(until: float | None, now: float) -> str:
    return "its time is over" if until is not None and until <= now else "taken back"


def _when(seconds: float) -> str:
    """The moment as people read it; one that no calendar has as its number."""
    try:
        return timestamp(seconds)
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def _reserved(kind: str, one: Reservation, now: float, why: str | None) -> Event:
    details: dict[str, object] = {"reservation": one.id, "from": _when(one.start), "until": _when(one.end)}
    details.update(devices=sorted(one.devices), users=sorted(one.users), groups=sorted(one.groups), reason=one.reason)
    if why is not None:
        details["why"] = why
    return Event(kind, now, by=BY, details=details)


def _granted(kind: str, one: Grant, now: float, why: str | None) -> Event:
    until = None if one.until is None else _when(one.until)
    details: dict[str, object] = {"what": "bare metal", "until": until, "reason": one.reason}
    if why is not None:
        details["why"] = why
    return Event(kind, now, one.user, one.uid, by=one.granted_by if kind == "grant.made" else BY, details=details)
