# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Who may use GPUs outside containers, until when, and what has to change on the host for that to hold.

Two sources: exemptions of the policy (rule ``bare_metal``), and grants that an admin gave by command. The later end counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Grant:
    """One admin's grant. ``until`` is seconds since the epoch, UTC, None without end; it holds no longer at that very moment."""

    uid: int
    user: str
    until: float | None
    reason: str
    granted_by: str
    granted_at: float

    def holds(self, now: float) -> bool:
        """True while it is in force."""
        return self.until is None or now < self.until


@dataclass(frozen=True)
class Exempt:
    """A person who may, with the sources in words. ``until`` as in ``Grant``."""

    uid: int
    user: str
    until: float | None
    why: tuple[str, ...]


@dataclass(frozen=True)
class FencePlan:
    """``open``: uids whose drop-in has to be written; ``close``: whose has to go; ``nudge``: units that run under the other rule still;
    ``next_change``: when the next of those in force ends."""

    open: tuple[int, ...]
    close: tuple[int, ...]
    nudge: tuple[str, ...]
    next_change: float | None


def exempt_people(from_policy: Iterable[Exempt], grants: Iterable[Grant], now: float) -> dict[int, Exempt]:
    """Everybody who may at ``now``, by uid, both sources joined. uid 0 is never listed: root is exempt by a file of its own."""
    found: dict[int, Exempt] = {}
    granted = (Exempt(g.uid, g.user, g.until, (f"granted by {g.granted_by} ({g.reason})",)) for g in grants if g.holds(now))
    for one in (*from_policy, *granted):
        if one.uid == 0 or (one.until is not None and one.until <= now):
            continue
        other = found.get(one.uid)
        if other is not None:
            until = None if one.until is None or other.until is None else max(one.until, other.until)
            one = Exempt(one.uid, one.user, until, (*other.why, *one.why))
        found[one.uid] = one
    return found


def plan(
    exempt: Mapping[int, Exempt],
    drop_ins: Iterable[int],
    live: Mapping[str, str],
    wanted: Mapping[str, str],
) -> FencePlan:
    """What to do. ``drop_ins`` are the uids that have one now. ``live`` maps running units to the rule that they are known to run under
    ("" when not known), ``wanted`` to the rule that ought to hold."""
    present = set(drop_ins)
    ends = [e.until for e in exempt.values() if e.until is not None]
    return FencePlan(
        open=tuple(sorted(set(exempt) - present)),
        close=tuple(sorted(present - set(exempt))),
        nudge=tuple(sorted(unit for unit, rule in live.items() if wanted.get(unit, rule) != rule)),
        next_change=min(ends, default=None),
    )


def user_unit(uid: int) -> str:
    """The slice of a person's sessions and services outside containers."""
    return f"user-{uid}.slice"


def grant_to_dict(grant: Grant) -> dict[str, Any]:
    """The grant as JSON values, read back by ``grant_from_dict``."""
    return {
        "uid": grant.uid,
        "user": grant.user,
        "until": grant.until,
        "reason": grant.reason,
        "granted_by": grant.granted_by,
        "granted_at": grant.granted_at,
    }


def grant_from_dict(data: Any) -> Grant:
    """The grant in JSON values; raises ValueError naming the key that is wrong."""
    if not isinstance(data, dict):
        raise ValueError(f"is {type(data).__name__}, expected an object")
    kinds: dict[str, tuple[type, ...]] = {
        "uid": (int,),
        "user": (str,),
        "until": (int, float, type(None)),
        "reason": (str,),
        "granted_by": (str,),
        "granted_at": (int, float),
    }
    for key, kind in kinds.items():
        if key not in data:
            raise ValueError(f"{key} is missing")
        if not isinstance(data[key], kind) or isinstance(data[key], bool):
            raise ValueError(f"{key} is {data[key]!r}, expected {' or '.join(k.__name__ for k in kind)}")
    if data["uid"] < 0:
        raise ValueError(f"uid is {data['uid']}, expected 0 or more")
    return Grant(**{key: data[key] for key in kinds})
