# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The queue: order, offers and their end by example; what must never happen by property, over random lives of a host."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.chooser import choose
from ds01.core.gpu_queue import HOLD_S, MOST_WAIT_S, PATIENCE_S, STEP, Scene, Waiter, What, in_order, kept_claims, settle
from ds01.core.gpu_request import GpuRequest
from ds01.core.offers import offers
from ds01.core.refusal import Refusal
from ds01.core.reservation import Reservation
from tests.allocation_examples import claim, inventory, whole_gpu
from tests.unit.core.queue_worlds import MIXED, TWO, person, scene, waiter

DEVICES = [offer.device for offer in offers(TWO)]
BUSY = (claim(1, (DEVICES[0],), uid=50), claim(2, (DEVICES[1],), uid=51))


def offered(waiters: tuple[Waiter, ...]) -> dict[int, tuple[str, ...]]:
    return {one.uid: tuple(sorted(one.hold.keys)) for one in waiters if one.hold is not None}


class TestOffers:
    def test_a_free_device_is_offered_at_once_and_only_once(self) -> None:
        after, changes = settle([waiter(1), waiter(2), waiter(3)], scene())
        assert list(offered(after)) == [1, 2]
        assert [change.what for change in changes] == [What.OFFERED] * 2
        assert after[0].hold is not None
        assert (after[0].hold.since, after[0].hold.until) == (1000.0, 1000.0 + HOLD_S)
        assert settle(after, scene(now=1001.0)) == (after, ())

    def test_nothing_is_offered_while_all_is_taken(self) -> None:
        assert settle([waiter(1)], scene(claims=BUSY))[1] == ()

    def test_an_offer_that_is_taken_ends_the_entry(self) -> None:
        after, _ = settle([waiter(1)], scene())
        mine = claim(9, after[0].hold.devices, uid=1, granted_at=1005.0)  # type: ignore[union-attr]
        left, changes = settle(after, scene(now=1006.0, claims=(mine,)))
        assert left == ()
        assert [change.what for change in changes] == [What.TAKEN]

    def test_an_offer_that_is_not_taken_lapses_and_the_next_is_served_in_the_same_moment(self) -> None:
        after, _ = settle([waiter(1), waiter(2)], scene(claims=BUSY[:1]))
        assert list(offered(after)) == [1]
        left, changes = settle(after, scene(now=1000.0 + HOLD_S, claims=BUSY[:1]))
        assert [(change.what, change.waiter.uid) for change in changes] == [(What.LAPSED, 1), (What.OFFERED, 2)]
        assert [one.uid for one in left] == [2]

    def test_the_hold_is_what_policy_says(self) -> None:
        after, _ = settle([waiter(1)], scene(), hold_s=60.0)
        assert after[0].hold is not None
        assert after[0].hold.until == 1060.0

    @pytest.mark.parametrize(
        "change",
        [
            {"stock": inventory(whole_gpu(0, healthy=False), whole_gpu(1))},
            {"stock": inventory(whole_gpu(1))},
            {"blocked": frozenset({DEVICES[0].key})},
            {"claims": (claim(3, (DEVICES[0],), uid=60),)},
            {"reservations": (Reservation("r", frozenset({DEVICES[0].key}), frozenset({"boss"}), frozenset(), 0, 1e12),)},
            {"people": {1: person(1, equivalents=Fraction(0))}},
            {"people": {1: person(1, full_gpu=False)}},
        ],
    )
    def test_an_offer_that_cannot_be_kept_is_withdrawn_and_the_place_is_not_lost(self, change: dict) -> None:
        after, _ = settle([waiter(1)], scene(claims=BUSY[1:]))
        assert offered(after) == {1: (DEVICES[0].key,)}
        later = {"stock": TWO, "claims": BUSY[1:], **change}
        if "claims" in change:
            later["claims"] = (*BUSY[1:], *change["claims"])
        left, changes = settle(after, scene(now=1001.0, **later))
        assert [one.what for one in changes] == [What.WITHDRAWN]
        assert left == (replace(after[0], hold=None),)

    def test_who_is_not_known_for_a_moment_keeps_offer_and_place(self) -> None:
        after, _ = settle([waiter(1), waiter(2)], scene(claims=BUSY[1:]))
        assert settle(after, scene(now=1001.0, claims=BUSY[1:], people={})) == (after, ())

    def test_what_somebody_held_before_is_no_offer_taken(self) -> None:
        own = claim(3, (DEVICES[1],), uid=1)
        after, _ = settle([waiter(1)], scene(claims=(own,)))
        assert settle(after, scene(now=1001.0, claims=(own,)))[1] == ()

    def test_quota_counts_offers_and_does_not_block_those_behind(self) -> None:
        people = {1: person(1, equivalents=Fraction(1)), 2: person(2)}
        waiters = [waiter(1), waiter(1, container_id="x", number=1), waiter(2, 2000.0)]
        after, _ = settle(waiters, scene(now=2000.0, people=people))
        assert sorted(offered(after)) == [1, 2]
        assert sum(one.hold is not None for one in after if one.uid == 1) == 1

    def test_a_reservation_is_honoured(self) -> None:
        mine = Reservation("r", frozenset({DEVICES[0].key}), frozenset({"u2"}), frozenset(), 0, 1e12)
        after, _ = settle([waiter(1), waiter(2, 2000.0)], scene(now=2000.0, claims=BUSY[1:], reservations=(mine,)))
        assert offered(after) == {2: (DEVICES[0].key,)}

    def test_who_forgot_that_they_wait_is_removed(self) -> None:
        left, changes = settle([waiter(1, 0.0)], scene(now=MOST_WAIT_S, claims=BUSY))
        assert (left, [change.what for change in changes]) == ((), [What.FORGOTTEN])


class TestOrder:
    @pytest.mark.parametrize(
        ("waiters", "people", "hours", "first"),
        [
            ([waiter(1, 0.0), waiter(2, 10.0)], {}, {}, 1),
            ([waiter(1, 0.0), waiter(2, 10.0)], {}, {1: 5.0}, 2),
            ([waiter(1, 0.0), waiter(2, 10.0)], {1: person(1, 10)}, {1: 5.0}, 1),
            ([waiter(1, 0.0), waiter(2, 10.0)], {2: person(2, 1)}, {2: 99.0}, 2),
            ([waiter(1, 0.0), waiter(2, PATIENCE_S)], {2: person(2, STEP - 1)}, {}, 1),
            ([waiter(1, 0.0), waiter(2, PATIENCE_S)], {2: person(2, STEP + 1)}, {}, 2),
        ],
        ids=["came-first", "least-served", "priority-before-served", "priority-before-time", "waiting-raises", "but-not-over"],
    )
    def test_by_example(self, waiters: list[Waiter], people: dict, hours: dict, first: int) -> None:
        now = scene(now=PATIENCE_S + 20, people={**{uid: person(uid) for uid in (1, 2)}, **people}, hours=hours)
        assert in_order(waiters, now)[0].uid == first

    @given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 10**6), st.floats(0, 10**6), st.floats(0, 10**7), st.integers(0, 99))
    def test_the_bound_that_is_promised(self, p: int, q: int, joined: int, more: float, waited: float, hours: int) -> None:
        """Nobody who joins so much later ever goes before, however little they had."""
        later = joined + PATIENCE_S * (max(0, q - p) // STEP + 1) + more
        people = {1: person(1, p), 2: person(2, q)}
        now = scene(now=later + waited, people=people, hours={1: float(hours)})
        assert in_order([waiter(2, later), waiter(1, float(joined))], now)[0].uid == 1

    @given(st.permutations(range(1, 12)), st.integers(0, 2**32))
    def test_it_is_one_order_whatever_the_input(self, uids: list[int], seed: int) -> None:
        dice = random.Random(seed)
        people = {uid: person(uid, dice.choice([0, 10, 50])) for uid in range(1, 12)}
        hours = {uid: float(dice.choice([0, 0, 3])) for uid in range(1, 12)}
        joined = {uid: float(dice.choice([0, 100, 5000])) for uid in range(1, 12)}
        now = scene(now=9000.0, people=people, hours=hours)
        assert in_order([waiter(uid, joined[uid]) for uid in uids], now) == in_order([waiter(uid, joined[uid]) for uid in joined], now)


REQUESTS = ("all", "count=1", "count=2", "count=1,full", "count=1,profile=1g.5gb", "count=1,memory=9000", "count=1,profile=3g.20gb")


class Life:
    """A host, people who come, wait, take, forget and end, in random order; every step is checked."""

    def __init__(self, seed: int, requests: tuple[str, ...] = REQUESTS) -> None:
        self.dice = random.Random(seed)
        self.requests = requests
        self.now = 1000.0
        self.claims: list = []
        self.waiters: tuple[Waiter, ...] = ()
        self.people = {
            uid: person(uid, self.dice.choice([0, 20, 40]), equivalents=Fraction(self.dice.choice([1, 2, 8]))) for uid in range(1, 9)
        }
        self.count = 0

    def scene(self) -> Scene:
        return scene(MIXED, self.now, claims=tuple(self.claims), people=self.people)

    def settle(self) -> None:
        self.waiters, _ = settle(self.waiters, self.scene())
        self.check()

    def check(self) -> None:
        holds = [key for one in self.waiters if one.hold is not None for key in one.hold.keys]
        held = [device.key for one in self.claims for device in one.devices]
        assert len(set(holds)) == len(holds), "two offers on one device"
        assert not set(holds) & set(held), "an offer on a device in use"
        for one in self.waiters:
            if one.hold is None:
                with pytest.raises(Refusal):
                    self.choice(one)

    def choice(self, one: Waiter):
        taken = [*self.claims, *kept_claims(self.waiters)]
        return choose(MIXED, taken, self.people[one.uid], GpuRequest.parse(one.request), uid=one.uid, now=self.now)

    def step(self) -> None:
        self.now += self.dice.choice([1.0, 60.0, 700.0, 4000.0])
        what = self.dice.choice(["join", "join", "join", "take", "take", "end", "leave", "pass"])
        self.count += 1
        if what == "join":
            self.waiters = (*self.waiters, waiter(self.dice.randint(1, 8), self.now, self.dice.choice(self.requests), self.count))
        elif what == "take" and (having := [one for one in self.waiters if one.hold is not None and one.hold.until > self.now]):
            one = self.dice.choice(having)
            self.claims.append(claim(self.count, one.hold.devices, uid=one.uid, granted_at=self.now))
        elif what == "end" and self.claims:
            self.claims.remove(self.dice.choice(self.claims))
        elif what == "leave" and self.waiters:
            gone = self.dice.choice(self.waiters)
            self.waiters = tuple(one for one in self.waiters if one != gone)
        self.settle()


@given(st.integers(0, 2**32))
def test_over_a_random_life_no_device_is_offered_twice_and_none_idles_while_somebody_could_use_it(seed: int) -> None:
    life = Life(seed)
    for _ in range(25):
        life.step()


@given(st.integers(0, 2**32))
def test_nobody_starves_while_others_keep_coming(seed: int) -> None:
    """Every minute the one device comes free and somebody of higher priority joins: the first is still served within the bound."""
    dice = random.Random(seed)
    p, q = dice.choice([0, 5]), dice.choice([0, 10, 45])
    stock = inventory(whole_gpu(0))
    people = {1: person(1, p), **{uid: person(uid, q) for uid in range(2, 30)}}
    bound = PATIENCE_S * (max(0, q - p) // STEP + 1)
    every = 600.0
    waiters: tuple[Waiter, ...] = (waiter(1, 0.0),)
    now, number = 0.0, 0
    while any(one.uid == 1 for one in waiters):
        now += every
        number += 1
        waiters = (*waiters, waiter(dice.randint(2, 29), now, number=number))
        waiters, changes = settle(waiters, scene(stock, now, people=people, hours={1: 1000.0}))
        served = {change.waiter.id for change in changes if change.what is What.OFFERED}
        if any(change.waiter.uid == 1 for change in changes):
            break
        waiters = tuple(one for one in waiters if one.id not in served)  # taken and ended within the interval
        # Those who may go before joined within the bound: each takes one interval at most, and so does the bound itself.
        assert now <= 2 * bound + 2 * every
