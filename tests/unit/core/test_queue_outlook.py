# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a waiter is told: place, expected time; and what is kept over a restart: the state, and who had how much."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.gpu_queue import settle
from ds01.core.gpu_served import DAYS, charge, hours
from ds01.core.offers import offers
from ds01.core.queue_outlook import estimates, position
from ds01.core.queue_state import QueueState, from_dict, to_dict
from tests.allocation_examples import claim
from tests.unit.core.queue_worlds import MIXED, TWO, scene, waiter

DEVICES = [offer.device for offer in offers(TWO)]
HOUR, DAY = 3600.0, 86400.0


class TestOutlook:
    CLAIMS = (claim(1, (DEVICES[0],), uid=50, ends_at=5000.0), claim(2, (DEVICES[1],), uid=51, held_until=3000.0))

    def test_places_count_from_one_and_an_offer_is_zero(self) -> None:
        waiters, _ = settle([waiter(1), waiter(2), waiter(3)], scene(claims=self.CLAIMS[:1]))
        now = scene(claims=self.CLAIMS[:1])
        assert [position(waiters, now, one.id) for one in waiters] == [0, 1, 2]
        assert position(waiters, now, "q0") is None

    def test_the_first_gets_the_first_end_and_what_is_not_known_is_not_said(self) -> None:
        waiters = [waiter(1), waiter(2, 1001.0), waiter(3, 1002.0)]
        found = estimates(waiters, scene(now=1500.0, claims=self.CLAIMS))
        assert found == {waiters[0].id: 3000.0, waiters[1].id: 5000.0}
        forever = (claim(1, (DEVICES[0],), uid=50), claim(2, (DEVICES[1],), uid=51))
        assert estimates(waiters, scene(claims=forever)) == {}

    def test_an_end_that_is_past_is_now(self) -> None:
        assert estimates([waiter(1)], scene(now=9000.0, claims=self.CLAIMS))[waiter(1).id] == 9000.0

    def test_two_devices_need_two_ends(self) -> None:
        assert estimates([waiter(1, request="count=2")], scene(claims=self.CLAIMS)) == {waiter(1).id: 5000.0}


class TestServed:
    def test_hours_are_equivalents_times_time(self) -> None:
        one = claim(1, (DEVICES[0],), uid=7, granted_at=1000.0)
        table = charge({}, [one], 0.0, 1000.0 + 2 * HOUR)
        assert hours(table, 7) == pytest.approx(2.0)
        assert hours(table, 8) == 0.0
        assert hours(charge(table, [one], 1000.0 + 2 * HOUR, 1000.0 + 3 * HOUR), 7) == pytest.approx(3.0)

    def test_what_is_older_than_the_days_is_forgotten(self) -> None:
        one = claim(1, (DEVICES[0],), uid=7, granted_at=0.0)
        table = charge({}, [one], 0.0, DAY)
        assert hours(charge(table, [], DAY, DAY * (DAYS - 0.5)), 7) == pytest.approx(24.0)
        assert charge(table, [], DAY, DAY * (DAYS + 1)) == {}

    def test_a_clock_that_went_back_charges_nothing(self) -> None:
        assert charge({}, [claim(1, (DEVICES[0],), uid=7, granted_at=0.0)], 500.0, 400.0) == {}

    @given(st.floats(0, 10 * DAY), st.lists(st.floats(0, 3 * DAY), max_size=6))
    def test_in_pieces_or_at_once_it_is_the_same(self, start: float, pieces: list[float]) -> None:
        one = claim(1, (DEVICES[0],), uid=7, granted_at=start)
        table, at = {}, start
        for piece in pieces:
            table, at = charge(table, [one], at, at + piece), at + piece
        assert hours(table, 7) == pytest.approx(hours(charge({}, [one], start, at), 7), abs=1e-6)


class TestState:
    @given(st.lists(st.tuples(st.integers(1, 29), st.sampled_from(["all", "count=2", "count=1,profile=1g.5gb"])), max_size=8))
    def test_it_comes_back_as_it_was(self, wanted: list[tuple[int, str]]) -> None:
        waiters, _ = settle([waiter(uid, request=text, number=n) for n, (uid, text) in enumerate(wanted)], scene(MIXED))
        state = QueueState(waiters, {5: {20000: 12.5}}, 1234.5)
        assert from_dict(json.loads(json.dumps(to_dict(state)))) == state

    @pytest.mark.parametrize(
        "damage",
        [
            lambda d: [],
            lambda d: {**d, "v": 2},
            lambda d: {**d, "waiters": {}},
            lambda d: {**d, "waiters": [{}]},
            lambda d: {**d, "waiters": d["waiters"] * 2},
            lambda d: {**d, "waiters": [*d["waiters"], {**d["waiters"][0], "id": "qother"}]},
            lambda d: {**d, "waiters": [{**d["waiters"][0], "uid": "1"}]},
            lambda d: {**d, "waiters": [{**d["waiters"][0], "request": "everything"}]},
            lambda d: {**d, "waiters": [{**d["waiters"][0], "hold": {"devices": [], "since": 1, "until": 2}}]},
            lambda d: {**d, "served": {"-1": {}}},
            lambda d: {**d, "served": {"1": {"2": "x"}}},
            lambda d: {**d, "charged_at": None},
        ],
    )
    def test_what_is_damaged_is_said_and_not_believed(self, damage) -> None:
        waiters, _ = settle([waiter(1)], scene())
        with pytest.raises(ValueError, match=r"."):
            from_dict(damage(json.loads(json.dumps(to_dict(QueueState(waiters))))))
