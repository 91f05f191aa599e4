# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Who is told that their turn in the queue for GPUs has come. Pure; once for each turn, whatever is restarted in between.

An entry's turn has come when a device is kept for it. A start that waits inside ``docker run`` takes its device at once, so its entry may
be gone before anybody looks: its turn has come when the entry is gone and the container has a claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .claim import Claim
from .gpu_queue import Waiter
from .notices import Notice
from .plain_words import plain, span
from .quota import moment


@dataclass(frozen=True)
class Watched:
    """What is remembered between two looks.

    ``told``: the turns that were told of. ``starts``: by entry, the container of each start that waits.
    """

    told: frozenset[str] = frozenset()
    starts: Mapping[str, str] = field(default_factory=dict)


def turns(before: Watched, waiters: Iterable[Waiter], claims: Iterable[Claim], now: float) -> tuple[Watched, tuple[Notice, ...]]:
    """The notices of turns that have come since ``before``, and what to remember. ``now``: seconds since the epoch, UTC."""
    found = tuple(waiters)
    said: list[Notice] = []
    told: set[str] = set()
    for one in found:
        if one.hold is None:
            continue
        turn = f"{one.id}@{one.hold.since:.3f}"
        told.add(turn)
        if turn not in before.told and one.container_id is None:
            said.append(_kept(one, one.hold.until, now))
    by_container = {claim.container_id: claim for claim in claims}
    present = {one.id for one in found}
    for entry, container in before.starts.items():
        claim = by_container.get(container)
        if entry not in present and claim is not None:
            said.append(_started(claim, now))
    return Watched(frozenset(told), {one.id: one.container_id for one in found if one.container_id is not None}), tuple(said)


def _kept(waiter: Waiter, until: float, now: float) -> Notice:
    text = (
        f"It is your turn: the GPU that you queued for ({waiter.request}) is kept for you for {span(until - now)}, until {moment(until)}. "
        "Start your container now; afterwards the next in the queue gets it. See: ds01 queue"
    )
    return Notice(waiter.uid, waiter.user, now, "info", plain(text))


def _started(claim: Claim, now: float) -> Notice:
    devices = " + ".join(device.kind for device in claim.devices)
    text = f"It is your turn: container {claim.container_name} has its GPU ({devices}) and was started."
    return Notice(claim.uid, claim.user, now, "info", plain(text), claim.container_name)
