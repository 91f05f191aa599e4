# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Planning a MIG layout: legal, least change by brute force, resumable after any step, and clear where there is no plan."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.mig_geometry import Geometry, Placement
from ds01.core.mig_layout import GpuLayout, HostLayout, WantedInstance
from ds01.core.mig_plan import plan_host
from ds01.core.mig_state import GpuInstance, GpuState
from ds01.core.mig_steps import Create, Destroy, HostPlan, Reason, Repair, SetMode
from tests.mig_models import A100, FOUR, H100, ONE, ONE_DOUBLE, ONE_ME, SEVEN, THREE, TWO, gi_id, gpu, standing
from tests.search_effort import tries

GEOMETRIES = pytest.mark.parametrize("geometry", [A100, H100], ids=["a100", "h100"])
IDS = (ONE, ONE_ME, ONE_DOUBLE, TWO, THREE, FOUR, SEVEN)


def layout(*profiles: str | tuple[str, int]) -> HostLayout:
    wanted = tuple(WantedInstance(p) if isinstance(p, str) else WantedInstance(*p) for p in profiles)
    return HostLayout((GpuLayout("0", True, instances=wanted),))


def layout_of(geometry: Geometry, ids: tuple[int, ...]) -> HostLayout:
    return layout(*(geometry.profile(i).name for i in ids))


@st.composite
def legal_placements(draw: st.DrawFn, geometry: Geometry) -> tuple[Placement, ...]:
    chosen: list[Placement] = []
    options = [Placement(p.id, s) for p in geometry.profiles for s in p.starts]
    for placement in draw(st.permutations(options)):
        if len(chosen) < 7 and geometry.legal([*chosen, placement]):
            chosen.append(placement)
    return tuple(chosen[: draw(st.integers(0, len(chosen)))])


def oracle_most_kept(geometry: Geometry, ids: tuple[int, ...], old: tuple[Placement, ...], must: frozenset[Placement]) -> int | None:
    """The most instances that any legal arrangement of the wanted ones leaves standing; None when none does. Tries them all."""
    best: int | None = None
    for starts in product(*(geometry.profile(i).starts for i in ids)):
        new = [Placement(i, s) for i, s in zip(ids, starts, strict=True)]
        if geometry.legal(new) and must <= set(new):
            best = max(best or 0, len(set(new) & set(old)))
    return best


def apply_steps(state: GpuState, plan: HostPlan, count: int | None = None) -> GpuState:
    """The state after the first ``count`` steps, by a model of the driver that knows nothing of the planner."""
    for step in plan.steps[:count]:
        if isinstance(step, SetMode):
            state = replace(state, mig_enabled=step.enabled, mig_pending=step.enabled)
        elif isinstance(step, Destroy):
            assert step.gi_id in {i.gi_id for i in state.instances}
            state = replace(state, instances=tuple(i for i in state.instances if i.gi_id != step.gi_id))
        elif isinstance(step, Create):
            assert state.geometry is not None
            assert state.mig_enabled
            new = Placement(step.profile_id, step.start)
            assert state.geometry.legal([*(i.placement for i in state.instances), new])
            state = replace(state, instances=(*state.instances, standing(state.geometry, new)))
        else:
            state = replace(
                state,
                instances=tuple(replace(i, compute=((0, step.compute_slices),)) if i.gi_id == step.gi_id else i for i in state.instances),
            )
    return state


def kinds(state: GpuState) -> Counter[int]:
    return Counter(i.profile_id for i in state.instances)


@GEOMETRIES
@tries(50)
@given(data=st.data())
def test_the_plan_gives_the_layout_with_the_least_change(geometry: Geometry, data: st.DataObject) -> None:
    old = data.draw(legal_placements(geometry))
    ids = tuple(p.profile_id for p in data.draw(legal_placements(geometry)))[:4]
    state = gpu(geometry, tuple(standing(geometry, p) for p in old))
    plan = plan_host(layout_of(geometry, ids), [state])
    assert not plan.problems
    kept = len(old) - sum(isinstance(s, Destroy) for s in plan.steps)
    assert kept == oracle_most_kept(geometry, ids, old, frozenset())
    after = apply_steps(state, plan)
    assert kinds(after) == Counter(ids)
    assert {i.placement for i in after.instances} == set(plan.gpus[0].placements)
    assert not plan_host(layout_of(geometry, ids), [after]).steps


@GEOMETRIES
@tries(50)
@given(data=st.data())
def test_instances_in_use_survive_or_nothing_happens(geometry: Geometry, data: st.DataObject) -> None:
    old = data.draw(legal_placements(geometry))
    used = frozenset(p for p in old if data.draw(st.booleans()))
    ids = tuple(p.profile_id for p in data.draw(legal_placements(geometry)))[:4]
    state = gpu(geometry, tuple(standing(geometry, p, ("process 1",) if p in used else ()) for p in old))
    plan = plan_host(layout_of(geometry, ids), [state])
    most = oracle_most_kept(geometry, ids, old, used)
    if most is None:
        assert [p.reason for p in plan.problems] == [Reason.IN_USE]
        assert not plan.steps
        forced = plan_host(layout_of(geometry, ids), [state], force=True)
        assert not forced.problems
        assert forced.displaced
        assert kinds(apply_steps(state, forced)) == Counter(ids)
    else:
        assert not plan.problems
        assert not plan.displaced
        after = apply_steps(state, plan)
        assert used <= {i.placement for i in after.instances}
        assert kinds(after) == Counter(ids)
        assert len(old) - sum(isinstance(s, Destroy) for s in plan.steps) == most


@GEOMETRIES
@tries(40)
@given(data=st.data())
def test_a_plan_cut_short_is_resumed(geometry: Geometry, data: st.DataObject) -> None:
    old = data.draw(legal_placements(geometry))
    ids = tuple(p.profile_id for p in data.draw(legal_placements(geometry)))
    state = gpu(geometry, tuple(standing(geometry, p) for p in old), mig=bool(old) or data.draw(st.booleans()))
    wanted = layout_of(geometry, ids)
    plan = plan_host(wanted, [state])
    cut = data.draw(st.integers(0, len(plan.steps)))
    halfway = apply_steps(state, plan, cut)
    rest = plan_host(wanted, [halfway])
    assert not rest.problems
    assert len(rest.steps) == len(plan.steps) - cut
    assert kinds(apply_steps(halfway, rest)) == Counter(ids)


@GEOMETRIES
@tries(60)
@given(data=st.data())
def test_what_is_impossible_is_said_and_what_fits_is_shown(geometry: Geometry, data: st.DataObject) -> None:
    ids = tuple(data.draw(st.lists(st.sampled_from(IDS), max_size=4)))
    plan = plan_host(layout_of(geometry, ids), [gpu(geometry)])
    possible = oracle_most_kept(geometry, ids, (), frozenset()) is not None
    assert bool(plan.problems) == (not possible)
    if not possible:
        assert plan.problems[0].reason is Reason.DOES_NOT_FIT
        assert "of these fit" in plan.problems[0].message


@pytest.mark.parametrize(
    ("wanted", "old", "actions"),
    [
        (("3g", "2g", "1g", "1g"), (), ["create 3g.20gb at 4", "create 2g.10gb at 0", "create 1g.5gb at 3", "create 1g.5gb at 2"]),
        (("3g", "2g"), ((ONE, 6), (THREE, 0)), ["destroy 1g.5gb at 6", "create 2g.10gb at 4"]),
        (("3g",), ((THREE, 0), (THREE, 4)), ["destroy 3g.20gb at 0"]),
        ((("3g", 0),), ((THREE, 0), (THREE, 4)), ["destroy 3g.20gb at 4"]),
        ((("1g", 6), "1g"), ((ONE, 6),), ["create 1g.5gb at 5"]),
        (("4g", "3g"), ((THREE, 0),), ["destroy 3g.20gb at 0", "create 4g.20gb at 0", "create 3g.20gb at 4"]),
        (("7g",), ((SEVEN, 0),), []),
        ((), ((TWO, 2),), ["destroy 2g.10gb at 2"]),
    ],
)
def test_plans_by_example(wanted: tuple[str | tuple[str, int], ...], old: tuple[tuple[int, int], ...], actions: list[str]) -> None:
    state = gpu(A100, tuple(standing(A100, Placement(*p)) for p in old))
    assert plan_host(layout(*wanted), [state]).actions == [f"GPU 0: {a}" for a in actions]


def test_a_layout_that_stands_is_kept_even_where_the_rules_would_not_make_it() -> None:
    old = (*(Placement(ONE, s) for s in range(6)), Placement(ONE_DOUBLE, 6))
    ids = tuple(p.profile_id for p in old)
    state = gpu(H100, tuple(standing(H100, p) for p in old))
    assert plan_host(layout_of(H100, ids), [state]) == replace(plan_host(layout_of(H100, ids), [state]), problems=())
    assert not plan_host(layout_of(H100, ids), [state]).steps
    assert plan_host(layout_of(H100, ids), [gpu(H100)]).problems[0].reason is Reason.DOES_NOT_FIT


@pytest.mark.parametrize(
    ("compute", "needs_repair"),
    [((), True), (((0, 1),), True), (((0, 1), (1, 2)), True), (((0, 3),), False), (((1, 3),), False)],
    ids=["no-ci", "small-ci", "two-cis", "whole", "whole-with-another-id"],
)
def test_half_done_instances_are_repaired(compute: tuple[tuple[int, int], ...], needs_repair: bool) -> None:
    instance = GpuInstance(gi_id(4, 4), THREE, 4, 4, compute)
    steps = plan_host(layout("3g"), [gpu(A100, (instance,))]).steps
    assert steps == ((Repair("GPU-0", 0, 2, "3g.20gb", 4, 3),) if needs_repair else ())


def test_a_whole_instance_is_kept_rather_than_a_half_done_one() -> None:
    whole, half = standing(A100, Placement(THREE, 0)), GpuInstance(gi_id(4, 4), THREE, 4, 4)
    assert plan_host(layout("3g"), [gpu(A100, (half, whole))]).actions == ["GPU 0: destroy 3g.20gb at 4"]


def test_a_half_done_instance_in_use_is_not_repaired() -> None:
    state = gpu(A100, (GpuInstance(gi_id(4, 4), THREE, 4, 4, ((0, 1),), ("process 7 (python3)",)),))
    problem = plan_host(layout("3g"), [state]).problems[0]
    assert problem.reason is Reason.IN_USE
    assert "process 7 (python3)" in problem.message
    assert plan_host(layout("3g"), [state], force=True).displaced == ["GPU 0: 3g.20gb at 4, used by process 7 (python3)"]


OFF = HostLayout((GpuLayout("0", False),))


@pytest.mark.parametrize(
    ("wanted", "enabled", "pending", "actions"),
    [
        (OFF, False, False, []),
        (OFF, True, True, ["switch MIG off"]),
        (OFF, False, True, ["take back the pending switch of MIG on"]),
        (OFF, True, False, ["switch MIG off"]),
        (layout(), True, True, []),
        (layout(), False, False, ["switch MIG on"]),
        (layout(), True, False, ["take back the pending switch of MIG off"]),
        (layout(), False, True, ["switch MIG on"]),
    ],
)
def test_modes(wanted: HostLayout, enabled: bool, pending: bool, actions: list[str]) -> None:
    state = replace(gpu(A100), mig_enabled=enabled, mig_pending=pending)
    assert plan_host(wanted, [state]).actions == [f"GPU 0: {a}" for a in actions]


def test_mode_on_comes_before_its_instances_and_off_after_them() -> None:
    on = plan_host(layout("7g"), [gpu(A100, mig=False)])
    assert on.actions == ["GPU 0: switch MIG on", "GPU 0: create 7g.40gb at 0"]
    off = plan_host(OFF, [gpu(A100, (standing(A100, Placement(SEVEN, 0)),))])
    assert off.actions == ["GPU 0: destroy 7g.40gb at 0", "GPU 0: switch MIG off"]


@pytest.mark.parametrize("wanted", [OFF, layout("7g")], ids=["off", "on"])
def test_a_gpu_in_use_is_not_switched(wanted: HostLayout) -> None:
    state = gpu(A100, mig=wanted is OFF, users=("claim c0123456789ab of alice",))
    plan = plan_host(wanted, [state])
    assert [p.reason for p in plan.problems] == [Reason.IN_USE]
    assert "alice" in plan.problems[0].message
    forced = plan_host(wanted, [state], force=True)
    assert forced.displaced == ["GPU 0, used by claim c0123456789ab of alice"]
    assert forced.steps


def test_off_is_blocked_by_an_instance_in_use() -> None:
    state = gpu(A100, (standing(A100, Placement(ONE, 3), ("claim cX of bob",)), standing(A100, Placement(ONE, 2))))
    assert "1g.5gb at 3 is used by claim cX of bob" in plan_host(OFF, [state]).problems[0].message


def test_profiles_unknown_until_mig_is_on() -> None:
    plan = plan_host(layout("3g"), [gpu(None, mig=False)])
    assert plan.actions == ["GPU 0: switch MIG on"]
    assert plan.gpus[0].provisional


@pytest.mark.parametrize(
    ("wanted", "reason", "said"),
    [
        (layout("5g.1gb"), Reason.UNKNOWN_PROFILE, "it has 1g.5gb, 1g.5gb+me, 1g.10gb, 2g.10gb, 3g.20gb, 4g.20gb, 7g.40gb"),
        (layout(("3g", 2)), Reason.UNKNOWN_START, "3g.20gb can't start at 2; it can at 0, 4"),
        (layout("4g", "4g"), Reason.DOES_NOT_FIT, "2x4g.20gb doesn't fit; of these fit, placed freely: 4g.20gb"),
        (layout(("2g", 0), ("1g", 1)), Reason.DOES_NOT_FIT, "with 2g.10gb at 0, 1g.5gb at 1 doesn't fit"),
        (HostLayout((GpuLayout("5", False),)), Reason.NO_SUCH_GPU, "there are: 0 (GPU-0)"),
        (HostLayout((GpuLayout("0", False), GpuLayout("GPU-0", False))), Reason.NAMED_TWICE, "named twice"),
        (HostLayout((GpuLayout("0", True, layout="all-6g"),)), Reason.UNKNOWN_PROFILE, "all-6g"),
    ],
)
def test_impossible_layouts_say_why(wanted: HostLayout, reason: Reason, said: str) -> None:
    plan = plan_host(wanted, [gpu(A100)])
    assert not plan.steps
    assert plan.problems[0].reason is reason
    assert said in plan.problems[0].message


def test_a_gpu_without_mig() -> None:
    state = replace(gpu(None, mig=False), mig_capable=False)
    assert plan_host(layout("1g"), [state]).problems[0].reason is Reason.MIG_UNSUPPORTED
    assert not plan_host(OFF, [state]).steps


def test_which_entry_is_for_which_gpu() -> None:
    gpus = [gpu(A100, mig=True, index=n) for n in range(3)]
    some = HostLayout((GpuLayout("all", True, layout="all-7g"), GpuLayout("1", False), GpuLayout("GPU-2", True)))
    assert plan_host(some, gpus).actions == ["GPU 0: create 7g.40gb at 0", "GPU 1: switch MIG off"]
    assert plan_host(HostLayout((GpuLayout("1", False),)), gpus).actions == ["GPU 1: switch MIG off"]
    assert plan_host(HostLayout((GpuLayout("1", True),), purge=True), gpus).actions == ["GPU 0: switch MIG off", "GPU 2: switch MIG off"]


@pytest.mark.parametrize(
    ("name", "profiles"),
    [
        ("all-balanced", {THREE: 1, TWO: 1, ONE: 2}),
        ("all-1g", {ONE: 7}),
        ("all-2g", {TWO: 3}),
        ("all-3g", {THREE: 2}),
        ("all-4g", {FOUR: 1}),
        ("all-7g", {SEVEN: 1}),
    ],
)
@GEOMETRIES
def test_named_layouts(geometry: Geometry, name: str, profiles: dict[int, int]) -> None:
    plan = plan_host(HostLayout((GpuLayout("all", True, layout=name),)), [gpu(geometry)])
    assert Counter(p.profile_id for p in plan.gpus[0].placements) == profiles


def test_claims_become_users() -> None:
    state = gpu(A100, (standing(A100, Placement(ONE, 3)),)).with_claims({"GPU-0/19@3": "claim c1 of eve", "GPU-1": "claim c2 of bob"})
    assert state.instances[0].users == ("claim c1 of eve",)
    assert state.users == ()
    assert gpu(A100, mig=False).with_claims({"GPU-0": "claim c2 of bob"}).users == ("claim c2 of bob",)
