# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Hosts, people and waiters for tests of the queue."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from ds01.core.devices import Inventory
from ds01.core.gpu_queue import Scene, Waiter
from ds01.core.limits import Limits
from tests.allocation_examples import ALL_BALANCED, SEVEN, inventory, limits, mig_gpu, whole_gpu

MIXED = inventory(whole_gpu(0), mig_gpu(1, ALL_BALANCED), mig_gpu(2, SEVEN))
TWO = inventory(whole_gpu(0), whole_gpu(1))
LARGE = {"equivalents": Fraction(8), "devices_per_container": 4, "full_gpu": True}


def person(uid: int, priority: int = 0, **gpu: Any) -> Limits:
    """Somebody who may have everything, unless said otherwise."""
    return replace(limits(f"u{uid}", "students", **{**LARGE, **gpu}), priority=priority)


def waiter(uid: int, joined_at: float = 1000.0, request: str = "count=1", number: int = 0, **changes: Any) -> Waiter:
    """An entry of ``uid``."""
    return Waiter(f"q{uid:06x}{number:06x}", uid, f"u{uid}", request, joined_at, **changes)


def scene(stock: Inventory = TWO, now: float = 1000.0, **changes: Any) -> Scene:
    """A moment at which nobody holds anything; people 1 to 29 may have everything."""
    values: dict[str, Any] = {
        "claims": (),
        "reservations": (),
        "blocked": frozenset(),
        "people": {uid: person(uid) for uid in range(1, 30)},
        "hours": {},
    }
    return Scene(stock, **{**values, **changes, "now": now})
