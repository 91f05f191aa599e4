# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The queue for GPUs: who is next, who is offered what, and when an offer is over. Pure.

Theory of operation. ``settle`` is called with the claims of a moment, under the lock that grants take, whenever something may have
come free and before every grant. It ends what is over and then offers free devices to the waiters in order; each offer takes its
devices out of everybody else's choice until it is taken or lapses. So between two calls no free device is there that a waiter could
have: nobody waits while a device that they could use is idle, and nobody who does not wait comes first.

Order. A waiter's rank is ``priority + STEP × ⌊waited / PATIENCE_S⌋``, the priority being their group's; the highest goes first. Of
one rank, whoever had the fewest GPU-equivalent-hours in the last days goes first, then whoever came first.
Bound: because ⌊a⌋ − ⌊b⌋ ≥ ⌊a − b⌋, somebody of priority q who joins at least ``PATIENCE_S × (⌊(q − p) / STEP⌋ + 1)`` after
somebody of priority p (q ≥ p) never goes before them. A request for several devices at once is served when as many are free at one
moment; devices are not kept idle to gather them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from .chooser import choose, may_keep
from .claim import Claim, ClaimedDevice
from .devices import Inventory
from .gpu_request import GpuRequest
from .limits import Limits
from .offers import offers
from .refusal import Refusal
from .reservation import Reservation

STEP = 10
PATIENCE_S = 3600.0
HOLD_S = 600.0
"""How long an offer stands when policy says nothing else."""
MOST_WAIT_S = 14 * 86400.0
"""After so long a waiter is taken for somebody who forgot."""


@dataclass(frozen=True)
class Hold:
    """Devices that are kept for a waiter between two moments (seconds since the epoch, UTC)."""

    devices: tuple[ClaimedDevice, ...]
    since: float
    until: float

    @property
    def keys(self) -> frozenset[str]:
        """The keys of its devices."""
        return frozenset(device.key for device in self.devices)


@dataclass(frozen=True)
class Waiter:
    """One entry. ``container_id`` is set for a start that waits inside ``docker run``; a person has at most one without."""

    id: str
    uid: int
    user: str
    request: str
    joined_at: float
    container_id: str | None = None
    hold: Hold | None = None


class What(Enum):
    """What happened to a waiter. The value says it to people."""

    OFFERED = "a device is kept for you"
    TAKEN = "the offer was taken"
    LAPSED = "the offer was not taken in time"
    WITHDRAWN = "the device is not to be had any more; you keep your place"
    FORGOTTEN = "waited too long"

    @property
    def ends(self) -> bool:
        """Whether the waiter is in the queue no more."""
        return self in (What.TAKEN, What.LAPSED, What.FORGOTTEN)


@dataclass(frozen=True)
class Change:
    """One thing that ``settle`` did; ``waiter`` is the entry as it is after that."""

    what: What
    waiter: Waiter


@dataclass(frozen=True)
class Scene:
    """What there is at the moment ``now`` (seconds since the epoch, UTC).

    ``people``: limits by uid; who is missing keeps their place and offer and is not served. ``hours``: GPU-equivalent-hours lately, by uid.
    """

    inventory: Inventory
    claims: Sequence[Claim]
    reservations: Sequence[Reservation]
    blocked: frozenset[str]
    people: Mapping[int, Limits]
    hours: Mapping[int, float]
    now: float


def rank(waiter: Waiter, priority: int, now: float) -> int:
    """How far ahead: the group's priority, and STEP more for every PATIENCE_S of waiting."""
    return priority + STEP * int(max(0.0, now - waiter.joined_at) // PATIENCE_S)


def in_order(waiters: Sequence[Waiter], scene: Scene) -> list[Waiter]:
    """Who is served first. Somebody whose limits are not known now has priority 0."""

    def key(waiter: Waiter) -> tuple[int, float, float, str]:
        person = scene.people.get(waiter.uid)
        priority = 0 if person is None else person.priority
        return -rank(waiter, priority, scene.now), scene.hours.get(waiter.uid, 0.0), waiter.joined_at, waiter.id

    return sorted(waiters, key=key)


def kept_claims(waiters: Sequence[Waiter], *, besides: Waiter | None = None) -> list[Claim]:
    """The holds as claims, for everybody for whom their devices are taken; ``besides``: for whom they are not."""
    return [_as_claim(waiter, waiter.hold) for waiter in waiters if waiter.hold is not None and waiter != besides]


def _as_claim(waiter: Waiter, hold: Hold) -> Claim:
    return Claim(
        id=waiter.id,
        uid=waiter.uid,
        user=waiter.user,
        container_id=waiter.container_id or "",
        container_name="kept for your turn in the queue",
        request=waiter.request,
        devices=hold.devices,
        granted_at=hold.since,
        generation=waiter.id,
        held_until=hold.until,
    )


def settle(waiters: Sequence[Waiter], scene: Scene, hold_s: float = HOLD_S) -> tuple[tuple[Waiter, ...], tuple[Change, ...]]:
    """The waiters as they are now, and what happened: offers that were taken, lapsed or withdrawn, and new ones in order."""
    changes: list[Change] = []
    left: list[Waiter] = []
    for waiter in waiters:
        what = _over(waiter, scene)
        if what is None:
            left.append(waiter)
            continue
        after = replace(waiter, hold=None) if what is What.WITHDRAWN else waiter
        changes.append(Change(what, after))
        if not what.ends:
            left.append(after)
    refused: set[tuple[int, str]] = set()
    for waiter in in_order([one for one in left if one.hold is None], scene):
        if not _anything_free(left, scene):
            break
        if (waiter.uid, waiter.request) in refused:
            continue
        devices = _choice(waiter, left, scene)
        if devices is None:
            refused.add((waiter.uid, waiter.request))
            continue
        offered = replace(waiter, hold=Hold(devices, scene.now, scene.now + hold_s))
        left[left.index(waiter)] = offered
        changes.append(Change(What.OFFERED, offered))
    return tuple(left), tuple(changes)


def _anything_free(waiters: Sequence[Waiter], scene: Scene) -> bool:
    """False when no device could be anybody's: then nobody need be asked for."""
    taken = {device.key for claim in (*scene.claims, *kept_claims(waiters)) for device in claim.devices}
    return any(offer.gpu.healthy and offer.device.key not in taken for offer in offers(scene.inventory))


def _over(waiter: Waiter, scene: Scene) -> What | None:
    """What ends a waiter's entry or offer now; None when nothing does."""
    hold = waiter.hold
    if hold is None:
        return What.FORGOTTEN if scene.now - waiter.joined_at >= MOST_WAIT_S else None
    holders = [claim for claim in scene.claims if any(_collide(one, two) for one in claim.devices for two in hold.devices)]
    if any(claim.uid == waiter.uid and claim.granted_at >= hold.since for claim in holders):
        return What.TAKEN
    if scene.now >= hold.until:
        return What.LAPSED
    if holders or hold.keys & scene.blocked:
        return What.WITHDRAWN
    person = scene.people.get(waiter.uid)
    if person is None:
        return None
    own = _as_claim(waiter, hold)
    request = GpuRequest.parse(waiter.request)
    if not may_keep(scene.inventory, own, scene.claims, person, request, now=scene.now, reservations=scene.reservations):
        return What.WITHDRAWN
    return None


def _collide(one: ClaimedDevice, two: ClaimedDevice) -> bool:
    """True when the same hardware can't be both: one device, or a GPU and a part of it."""
    if one.key == two.key:
        return True
    return one.gpu_uuid == two.gpu_uuid and (one.profile is None or two.profile is None)


def _choice(waiter: Waiter, waiters: Sequence[Waiter], scene: Scene) -> tuple[ClaimedDevice, ...] | None:
    """What the waiter can be offered now, None when nothing. Offers made to them already count against their quota."""
    person = scene.people.get(waiter.uid)
    if person is None:
        return None
    try:
        return choose(
            scene.inventory,
            [*scene.claims, *kept_claims(waiters)],
            person,
            GpuRequest.parse(waiter.request),
            uid=waiter.uid,
            now=scene.now,
            reservations=scene.reservations,
            blocked=scene.blocked,
        )
    except Refusal:
        return None
