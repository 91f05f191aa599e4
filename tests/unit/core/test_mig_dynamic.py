# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Re-partitioning on demand: never what is used, never beyond what is allowed, as little as possible, against a brute-force oracle."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.mig_dynamic import NoRoom, Remake, Wish, decide
from ds01.core.mig_geometry import Geometry, Placement
from ds01.core.mig_layout import GpuLayout, HostLayout, LayoutError, WantedInstance, layout_to_json, parse_gpus, parse_layout
from ds01.core.mig_plan import plan_host
from ds01.core.mig_state import GpuState
from ds01.core.mig_steps import Create, Destroy
from tests.mig_models import A100, FOUR, H100, ONE, SEVEN, THREE, TWO, gpu, standing
from tests.search_effort import tries

EVERY = ("1g", "2g", "3g", "4g", "7g")
BALANCED = (Placement(TWO, 0), Placement(ONE, 2), Placement(ONE, 3), Placement(THREE, 4))


def dynamic(*profiles: str, selector: str = "0") -> HostLayout:
    return HostLayout((GpuLayout(selector, True, layout="all-balanced", dynamic=profiles or EVERY),))


def a100(*placements: Placement, used: tuple[int, ...] = (), index: int = 0) -> GpuState:
    return gpu(A100, tuple(standing(A100, p, ("claim",) if p.start in used else ()) for p in placements), index=index)


def placements(found: Remake, geometry: Geometry = A100) -> list[Placement]:
    assert found.layout is not None
    result = []
    for wanted in found.layout.instances:
        profile = geometry.named(wanted.profile)
        assert profile is not None and wanted.start is not None
        result.append(Placement(profile.id, wanted.start))
    return result


def test_the_smallest_idle_part_makes_room_and_the_rest_is_filled() -> None:
    found = decide(dynamic(), [a100(*BALANCED, used=(2,))], [Wish("0", "2g")])
    assert found.layout is None, "a free 2g stands at 0 already"
    found = decide(dynamic(), [a100(*BALANCED, used=(0, 2))], [Wish("0", "2g")])
    assert set(placements(found)) == {Placement(TWO, 0), Placement(ONE, 2), Placement(ONE, 3), Placement(TWO, 4), Placement(ONE, 6)}


def test_free_space_costs_nothing() -> None:
    found = decide(dynamic(), [a100(Placement(THREE, 4), Placement(ONE, 3))], [Wish("0", "2g")])
    assert set(placements(found)) == {Placement(THREE, 4), Placement(ONE, 3), Placement(TWO, 0)}


def test_the_cheapest_gpu_and_the_first_profile_that_can_be_had() -> None:
    gpus = [a100(Placement(SEVEN, 0), used=(0,)), a100(Placement(SEVEN, 0), index=1), a100(*BALANCED, used=(0, 2, 4), index=2)]
    everywhere = dynamic(selector="all")
    assert decide(everywhere, gpus, [Wish("0", "1g"), Wish("1", "1g"), Wish("2", "1g")]).layout is None, "GPU 2 has a free one"
    assert decide(everywhere, gpus, [Wish(str(i), p) for p in ("2g", "3g") for i in range(3)]).gpu.index == 1
    with pytest.raises(NoRoom, match=r"GPU 0: no room for 7g\.40gb beside 1 instances in use"):
        decide(everywhere, gpus, [Wish("0", "7g")])


@pytest.mark.parametrize(
    ("layout", "state", "wish", "says"),
    [
        (HostLayout((GpuLayout("0", True, layout="all-1g"),)), a100(), Wish("0", "2g"), "its layout is fixed"),
        (HostLayout(), a100(), Wish("0", "2g"), "its layout is fixed"),
        (dynamic("1g", "2g"), a100(), Wish("0", "3g"), "3g may not be made there; allowed are 1g.5gb, 2g.10gb"),
        (dynamic(), gpu(A100, mig=False), Wish("0", "2g"), "MIG is off"),
        (dynamic(), replace(a100(), users=("process 7",)), Wish("0", "2g"), "is used as a whole by process 7"),
        (dynamic(), a100(), Wish("9", "2g"), "GPU 9: is not on this host"),
        (dynamic(), a100(), Wish("0", "9g"), "9g may not be made there"),
    ],
)
def test_what_may_not_be_is_refused_with_why(layout: HostLayout, state: GpuState, wish: Wish, says: str) -> None:
    with pytest.raises(NoRoom, match=says):
        decide(layout, [state], [wish])


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Geometry, GpuState, tuple[str, ...], str]:
    geometry = draw(st.sampled_from([A100, H100]))
    chosen: list[Placement] = []
    for placement in draw(st.permutations([Placement(p.id, s) for p in geometry.profiles for s in p.starts])):
        if len(chosen) < 7 and geometry.legal([*chosen, placement]):
            chosen.append(placement)
    chosen = chosen[: draw(st.integers(0, 7))]
    used = draw(st.lists(st.booleans(), min_size=len(chosen), max_size=len(chosen)))
    instances = tuple(standing(geometry, p, ("claim",) if u else ()) for p, u in zip(chosen, used, strict=True))
    names = draw(st.lists(st.sampled_from([p.name for p in geometry.profiles]), min_size=1, max_size=4, unique=True))
    return geometry, gpu(geometry, instances), tuple(names), draw(st.sampled_from([p.name for p in geometry.profiles]))


def least_lost(geometry: Geometry, state: GpuState, profile_id: int) -> int | None:
    """The fewest compute slices of idle instances whose loss lets an instance of the profile stand. Tries everything."""
    best: int | None = None
    idle = [i for i in state.instances if not i.users]
    for count in range(len(idle) + 1):
        for gone in combinations(idle, count):
            kept = [i.placement for i in state.instances if i not in gone]
            if any(geometry.legal([*kept, Placement(profile_id, s)]) for s in geometry.profile(profile_id).starts):
                lost = sum(geometry.profile(i.profile_id).compute_slices for i in gone)
                best = lost if best is None else min(best, lost)
    return best


@given(scenes())
@tries(100)
def test_never_what_is_used_never_beyond_the_limits_and_never_more_than_needed(
    scene: tuple[Geometry, GpuState, tuple[str, ...], str],
) -> None:
    geometry, state, allowed, name = scene
    layout = dynamic(*allowed)
    profile = geometry.named(name)
    assert profile is not None
    possible = least_lost(geometry, state, profile.id) if name in allowed else None
    try:
        found = decide(layout, [state], [Wish("0", name)])
    except NoRoom:
        assert possible is None
        return
    assert possible is not None
    if found.layout is None:
        assert any(i.profile_id == profile.id and not i.users for i in state.instances)
        return
    after = placements(found, geometry)
    before = {i.placement for i in state.instances}
    assert geometry.legal(after) and {i.placement for i in state.instances if i.users} <= set(after)
    ids = {p.id for n in allowed if (p := geometry.named(n)) is not None}
    assert {p.profile_id for p in set(after) - before} <= ids, "something was made that nobody allowed"
    assert any(p.profile_id == profile.id for p in set(after) - before)
    assert sum(geometry.profile(p.profile_id).compute_slices for p in before - set(after)) == possible
    plan = plan_host(HostLayout((found.layout,)), [state])
    assert not plan.problems and not plan.displaced
    destroyed = {s.start for s in plan.steps if isinstance(s, Destroy)}
    assert not destroyed & {i.start for i in state.instances if i.users}
    assert all(isinstance(s, (Create, Destroy)) for s in plan.steps)


@given(scenes())
@tries(60)
def test_a_converge_does_not_fight_what_demand_has_made(scene: tuple[Geometry, GpuState, tuple[str, ...], str]) -> None:
    geometry, state, allowed, _ = scene
    plan = plan_host(dynamic(*allowed), [state])
    ids = {p.id for n in (*allowed, "1g", "2g", "3g") if (p := geometry.named(n)) is not None}
    if state.instances and all(i.profile_id in ids for i in state.instances):
        assert not plan.problems and not plan.steps, "everything that stands is allowed"
    if not state.instances:
        assert [s.profile for s in plan.steps if isinstance(s, Create)], "an empty GPU gets what it starts with"


def test_a_half_done_instance_of_a_dynamic_gpu_is_completed_and_a_foreign_one_goes() -> None:
    half = replace(standing(A100, Placement(TWO, 0)), compute=())
    foreign = standing(A100, Placement(THREE, 4))
    layout = HostLayout((GpuLayout("0", True, instances=(WantedInstance("1g"),), dynamic=("2g",)),))
    plan = plan_host(layout, [gpu(A100, (half, foreign))])
    assert plan.actions == ["GPU 0: destroy 3g.20gb at 4", "GPU 0: make the compute instance of 2g.10gb at 0 whole"]
    blocked = plan_host(layout, [gpu(A100, (half, replace(foreign, users=("claim",))))])
    assert blocked.problems and not blocked.steps


def test_the_layout_file_carries_it() -> None:
    layout = parse_gpus([{"gpu": "2", "layout": "all-balanced", "dynamic": {"profiles": ["1g", "4g.20gb"]}}])
    assert layout.gpus[0].dynamic == ("1g", "4g.20gb") and parse_layout(layout_to_json(layout)) == layout
    for wrong in ({}, {"profiles": []}, {"profiles": "1g"}, {"profiles": [1]}, [], {"profiles": ["1g"], "x": 1}):
        with pytest.raises(LayoutError, match=r"gpus\[0\]\.dynamic"):
            parse_gpus([{"gpu": "2", "layout": "all-1g", "dynamic": wrong}])
    with pytest.raises(LayoutError, match="exclude each other"):
        parse_gpus([{"gpu": "2", "mode": "off", "dynamic": {"profiles": ["1g"]}}])


def test_four_and_three_slices_change_places() -> None:
    found = decide(dynamic(), [a100(Placement(THREE, 0), Placement(THREE, 4), used=(4,))], [Wish("0", "4g")])
    assert set(placements(found)) == {Placement(FOUR, 0), Placement(THREE, 4)}
