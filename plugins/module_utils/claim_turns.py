# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whose turn it is for a free device: what the allocator asks, under its lock, before it gives one to anybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .core.claim import Claim
from .core.devices import Inventory
from .core.reservation import Reservation


@dataclass(frozen=True)
class Moment:
    """What there is while the lock of the claims is held. ``now`` is seconds since the epoch, UTC."""

    inventory: Inventory
    claims: tuple[Claim, ...]
    reservations: tuple[Reservation, ...]
    blocked: frozenset[str]
    now: float


@dataclass(frozen=True)
class Kept:
    """For one start: what is kept for others, as claims, and what is kept for it, as reservations."""

    claims: Sequence[Claim] = ()
    reservations: Sequence[Reservation] = ()


class Turns(Protocol):
    """Called under the lock of the claims: no call may wait for anything, and none raises."""

    def settle(self, moment: Moment) -> None:
        """Something may have come free, or is about to be given: end what is over, keep what is free for whoever waits."""

    def kept(self, uid: int, container_id: str) -> Kept:
        """What counts for a start of that container of that person."""


class NoTurns:
    """Where nobody waits: first come, first served."""

    def settle(self, moment: Moment) -> None:
        return None

    def kept(self, uid: int, container_id: str) -> Kept:
        return Kept()
