# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Legality of MIG layouts against an independent brute-force oracle and the known counts."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.mig_geometry import Geometry, Placement
from ds01.core.mig_placement import fits, largest_fitting, legal_multisets, places
from tests.mig_models import A30, A100, FOUR, H100, ONE, ONE_DOUBLE, ONE_ME, SEVEN, THREE, TWO
from tests.search_effort import tries

KINDS = (ONE, ONE_DOUBLE, TWO, THREE, FOUR, SEVEN)


def oracle_fits(geometry: Geometry, ids: tuple[int, ...]) -> bool:
    """Try every assignment of places; written without the code under test."""
    profiles = {p.id: p for p in geometry.profiles}
    if any(ids.count(i) > profiles[i].max_count for i in ids):
        return False
    if geometry.compute_capability >= 9 and sum(2 if i == ONE_DOUBLE else profiles[i].compute_slices for i in ids) > 7:
        return False
    for starts in product(*(profiles[i].starts for i in ids)):
        cells = [c for i, s in zip(ids, starts, strict=True) for c in range(s, s + profiles[i].size)]
        if len(cells) == len(set(cells)):
            return True
    return not ids


def maximal(sets: set[tuple[int, ...]]) -> set[tuple[int, ...]]:
    return {a for a in sets if not any(tuple(sorted((*a, k))) in sets for k in KINDS)}


def test_a100_has_the_77_legal_multisets_of_which_28_are_maximal() -> None:
    plain = Geometry(tuple(p for p in A100.profiles if p.id != ONE_ME), 8)
    sets = legal_multisets(plain)
    assert len(sets) - 1 == 77
    assert len(maximal(sets)) == 28


@pytest.mark.parametrize("geometry", [A100, H100, A30], ids=["a100", "h100", "a30"])
@tries(60)
@given(data=st.data())
def test_legality_agrees_with_brute_force(geometry: Geometry, data: st.DataObject) -> None:
    ids = tuple(sorted(data.draw(st.lists(st.sampled_from([p.id for p in geometry.profiles]), max_size=5))))
    assert fits(geometry, ids) == oracle_fits(geometry, ids)


@pytest.mark.parametrize(
    ("geometry", "ids", "legal"),
    [
        (A100, (ONE,) * 7, True),
        (A100, (ONE,) * 8, False),
        (A100, (ONE_ME, ONE_ME), False),
        (A100, (ONE,) * 6 + (ONE_DOUBLE,), True),
        (H100, (ONE,) * 6 + (ONE_DOUBLE,), False),  # 26 SMs of 132: counted as two slices there
        (H100, (ONE,) * 5 + (ONE_DOUBLE,), True),
        (H100, (ONE_DOUBLE,) * 3, True),
        (A100, (FOUR, FOUR), False),
        (A100, (FOUR, THREE), True),
        (A100, (THREE, THREE, ONE), False),
        (A100, (THREE, TWO, ONE, ONE), True),
        (A100, (THREE, TWO, TWO), True),
        (A100, (SEVEN, ONE), False),
    ],
)
def test_known_layouts(geometry: Geometry, ids: tuple[int, ...], legal: bool) -> None:
    assert fits(geometry, ids) == legal


def test_every_offered_set_of_places_is_legal_and_new() -> None:
    offered = list(places(A100, (), (ONE, ONE, TWO), ()))
    assert len(offered) == len({frozenset(o) for o in offered})
    assert all(A100.legal(o) for o in offered)
    by_hand = {
        frozenset((Placement(TWO, t), Placement(ONE, a), Placement(ONE, b)))
        for t in (0, 2, 4)
        for a in range(7)
        for b in range(a)
        if not {a, b} & {t, t + 1}
    }
    assert {frozenset(o) for o in offered} == by_hand


def test_places_that_leave_room_come_first() -> None:
    assert next(places(A100, (), (THREE, TWO, ONE), ())) == (Placement(THREE, 4), Placement(TWO, 0), Placement(ONE, 3))
    assert next(places(A100, (), (ONE,), ())) == (Placement(ONE, 6),)


def test_a_place_that_the_driver_does_not_offer_is_illegal() -> None:
    assert not A100.legal([Placement(ONE, 7)])
    assert not A100.legal([Placement(FOUR, 4)])
    assert not A100.legal([Placement(TWO, 1)])


def test_largest_fitting_parts() -> None:
    parts = largest_fitting(A100, (THREE, THREE, FOUR))
    assert (FOUR, THREE) in parts
    assert (THREE, THREE) in parts
    assert all(fits(A100, p) for p in parts)


@pytest.mark.parametrize(
    ("geometry", "name", "profile_id"),
    [
        (A100, "1g.5gb", ONE),
        (A100, "1G.5GB", ONE),
        (A100, "1g", ONE),
        (A100, "1g.10gb", ONE_DOUBLE),
        (H100, "1g.10gb", ONE),
        (A30, "2g", 5),
    ],
)
def test_names(geometry: Geometry, name: str, profile_id: int) -> None:
    found = geometry.named(name)
    assert found is not None
    assert found.id == profile_id


@pytest.mark.parametrize("name", ["5g", "1g.7gb", "", "g", "1"])
def test_unknown_names(name: str) -> None:
    assert A100.named(name) is None
