# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""GPU-hours from the event log: whole lives of claims, lost events, and any order of lives against a clock that ticks every second."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.event import timestamp
from ds01.core.gpu_hours import Holding, days, holdings, hours_by, moment

T = 1_800_000_000.0
WHOLE, SLICE = "GPU-0", "GPU-1/9@0"
HOUR = 3600.0


def event(kind: str, at: float, claim: str = "c1", user: str = "student1", granted: float = 0.0, **details: Any) -> dict[str, Any]:
    told = {"claim": claim, "devices": [WHOLE], "equivalents": ["1"], "granted_at": timestamp(T + granted), **details}
    return {"time": timestamp(T + at), "kind": f"claim.{kind}", "user": user, "uid": 1001, "container": "box", "details": told}


def spans(records: Sequence[dict[str, Any]], now: float = 10 * HOUR) -> list[tuple[str, float, float, bool]]:
    return sorted((one.claim, one.begin - T, one.end - T, one.open) for one in holdings(records, T + now))


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([event("granted", 0), event("released", HOUR)], [("c1", 0, HOUR, False)], id="a life"),
        pytest.param([event("granted", 0)], [("c1", 0, 10 * HOUR, True)], id="still running"),
        pytest.param(
            [event("granted", 0), event("held", 100, until=T + 700), event("released", 701)],
            [("c1", 0, 701, False)],
            id="kept, then let go",
        ),
        pytest.param(
            [event("granted", 0), event("held", 100, until=T + 700), event("granted", 300, fresh=False), event("released", 5000)],
            [("c1", 0, 5000, False)],
            id="started again while it was kept",
        ),
        pytest.param([event("granted", 0), event("held", 100, until=T + 700)], [("c1", 0, 700, False)], id="the end of a hold was lost"),
        pytest.param(
            [event("granted", 0), event("held", 100, until=T + 11 * HOUR)], [("c1", 0, 10 * HOUR, True)], id="a hold that is not over"
        ),
        pytest.param([event("released", HOUR, granted=600)], [("c1", 600, HOUR, False)], id="the grant was lost"),
        pytest.param([event("restarted", 60)], [("c1", 0, 10 * HOUR, True)], id="only the restart was kept"),
        pytest.param(
            [event("granted", 0), event("granted", 900, "c2", granted=900), event("released", 1000, "c2", granted=900)],
            [("c1", 0, 900, False), ("c2", 900, 1000, False)],
            id="the device went to somebody else: the first end was lost",
        ),
        pytest.param(
            [event("granted", 0), event("granted", 5000, granted=5000), event("released", 6000, granted=5000)],
            [("c1", 0, 5000, False), ("c1", 5000, 6000, False)],
            id="the same claim given anew",
        ),
        pytest.param([event("granted", 0), event("released", 60), event("released", 60)], [("c1", 0, 60, False)], id="told twice"),
        pytest.param([{"kind": "claim.granted", "time": "yesterday", "details": {"claim": "c1"}}], [], id="no time"),
        pytest.param([{"kind": "claim.granted", "time": timestamp(T), "details": "none"}], [], id="no details"),
        pytest.param([{**event("granted", 0), "kind": "claim.refused"}], [], id="another kind"),
    ],
)
def test_spans(records: list[dict[str, Any]], expected: list[tuple[str, float, float, bool]]) -> None:
    assert spans(records) == expected


def test_what_a_holding_says_of_itself() -> None:
    record = event("granted", 0, devices=[SLICE], equivalents=["3/7"])
    (one,) = holdings([record, event("released", 7 * HOUR, devices=[SLICE], equivalents=["3/7"])], T + 8 * HOUR)
    assert (one.user, one.uid, one.container, one.gpu_uuid, one.device) == ("student1", 1001, "box", "GPU-1", SLICE)
    assert one.hours(T, T + 8 * HOUR) == pytest.approx(3.0)
    assert one.hours(T + 6 * HOUR, T + 8 * HOUR) == pytest.approx(3 / 7)
    assert one.hours(T + 7 * HOUR, T + 8 * HOUR) == 0


@pytest.mark.parametrize(
    ("told", "hours"),
    [
        ({"devices": [WHOLE, SLICE], "equivalents": ["1", "3/7"]}, 10 / 7),
        ({"devices": [WHOLE, SLICE], "equivalents": ["1"]}, 1.0),
        ({"devices": [WHOLE], "equivalents": ["1/0"]}, 0.0),
        ({"devices": [WHOLE], "equivalents": [{"a": 1}]}, 0.0),
        ({"devices": "GPU-0", "equivalents": ["1"]}, 0.0),
    ],
)
def test_shares_as_told_and_a_whole_gpu_where_none_is(told: dict[str, Any], hours: float) -> None:
    found = list(holdings([event("granted", 0, **told), event("released", HOUR, **told)], T + HOUR))
    assert sum(one.hours(T, T + HOUR) for one in found) == pytest.approx(hours)


def test_days_are_utc_days_and_parts_of_them() -> None:
    begin = moment("2026-03-01T22:00:00.000Z")
    assert begin is not None
    assert [(name, (end - start) / HOUR) for name, start, end in days(begin, begin + 27 * HOUR)] == [
        ("2026-03-01", 2.0),
        ("2026-03-02", 24.0),
        ("2026-03-03", 1.0),
    ]
    assert days(begin, begin) == []


@pytest.mark.parametrize("text", [None, 5, "", "2026-01-01T00:00:00", "now"])
def test_what_is_no_moment(text: object) -> None:
    assert moment(text) is None


_LIVES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(1, 60), st.integers(0, 30), st.integers(0, 20)), min_size=1, max_size=25
)


@given(_LIVES, st.sets(st.integers(0, 80)))
def test_any_lives_and_any_lost_ends_against_a_clock(lives: list[tuple[int, int, int, int, int]], lost: set[int]) -> None:
    """Users take devices for so long, keep them so long, after a pause; an end that is lost costs at most what was free until the next."""
    records, expected = [], {}
    clock: dict[int, int] = {}
    for number, (user, device, runs, keeps, pause) in enumerate(lives):
        begin = clock.get(device, 0) + pause
        end = begin + runs
        told = {"devices": [f"GPU-{device}"], "granted": begin, "claim": f"c{number}", "user": f"u{user}"}
        records.append((begin, number, event("granted", begin, **told)))
        if keeps:
            records.append((end, number, event("held", end, until=T + end + keeps, **told)))
        if number not in lost:
            records.append((end + keeps, number, event("released", end + keeps, **told)))
        clock[device] = end + keeps
        if number not in lost or keeps:
            expected[f"c{number}"] = runs + keeps
    ordered = [record for _, _, record in sorted(records, key=lambda one: one[:2])]
    horizon = max(clock.values())
    found: list[Holding] = list(holdings(ordered, T + horizon))
    by_claim = hours_by(found, lambda one: one.claim, T, T + horizon)
    assert {claim: round(by_claim[claim] * 3600) for claim in expected} == expected
    for device in range(4):
        spans_of = sorted((one.begin, one.end) for one in found if one.gpu_uuid == f"GPU-{device}")
        assert all(first[1] <= second[0] + 1e-6 for first, second in itertools.pairwise(spans_of)), "two holders at once"
