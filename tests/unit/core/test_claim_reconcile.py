# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What becomes of claims whose containers did something that nobody saw."""

from __future__ import annotations

import pytest

from ds01.core.claim_reconcile import START_GRACE_S, ContainerState, reconcile
from ds01.core.offers import offers
from tests.allocation_examples import SEVEN, claim, inventory, mig_gpu

DEVICE = offers(inventory(mig_gpu(0, SEVEN)))[0].device
NOW = 10_000.0
GONE, ALIVE, STOPPED = "gone", "alive", "stopped"


def plan_for(state: str, *, finished_at: float | None = None, claims=None, slices=(), **changes):
    one = claim(1, (DEVICE,), **{"renewed_at": 1000.0, **changes})
    container = ContainerState(one.container_id, state == ALIVE, one.id, finished_at)
    return reconcile([one] if claims is None else claims, [] if state == GONE else [container], slices, listed_at=NOW - 1, now=NOW)


ID = "c000000000001"


@pytest.mark.parametrize(
    ("state", "changes", "expected"),
    [
        (ALIVE, {}, "keep"),
        (GONE, {}, "drop"),
        (STOPPED, {}, "drop"),
        (STOPPED, {"hold": 600, "finished_at": NOW - 100}, NOW + 500),
        (STOPPED, {"hold": 600, "finished_at": NOW - 700}, "drop"),
        (STOPPED, {"hold": 600}, NOW + 600),
        (GONE, {"hold": 600}, "drop"),
        (ALIVE, {"held_until": NOW + 5}, "resume"),
        (ALIVE, {"held_until": NOW - 5}, "resume"),
        (STOPPED, {"held_until": NOW + 5}, "keep"),
        (STOPPED, {"held_until": NOW - 5}, "drop"),
        (GONE, {"held_until": NOW + 5}, "drop"),
        (ALIVE, {"ending_since": NOW - 5}, "resume"),
        (STOPPED, {"ending_since": NOW - 5, "hold": 600, "finished_at": NOW - 6}, "drop"),
        (GONE, {"ending_since": NOW - 5, "renewed_at": NOW}, "drop"),
        (STOPPED, {"renewed_at": NOW - START_GRACE_S}, "keep"),
        (GONE, {"renewed_at": NOW}, "keep"),
        (GONE, {"renewed_at": NOW - 2 * START_GRACE_S}, "drop"),
    ],
)
def test_claims(state, changes, expected):
    plan = plan_for(state, **changes)
    assert plan.drop == ((ID,) if expected == "drop" else ())
    assert plan.resume == ((ID,) if expected == "resume" else ())
    assert plan.hold == ({ID: expected} if isinstance(expected, float) else {})


def test_slices_without_a_claim_are_closed_and_those_being_dropped_not_twice():
    plan = plan_for(GONE, slices=[(1000, ID), (1000, "cffffffffffff")])
    assert plan.close == ((1000, "cffffffffffff"),)


def test_a_live_container_without_its_claim_is_reported():
    plan = plan_for(ALIVE, claims=[])
    assert plan.unclaimed == (claim(1, ()).container_id,)
    assert plan_for(ALIVE).unclaimed == ()
