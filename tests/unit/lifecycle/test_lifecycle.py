# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Warned when promised, stopped when due, never otherwise: by example and over random histories."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.activity import Activity, Sample, interval
from ds01.core.lifecycle import Drain, Leads, Puzzled, Remove, Stop, Warn, Withdraw, decide, decide_stopped, outlook
from ds01.core.lifecycle_history import History, Promise, observe, rest
from ds01.core.lifecycle_reason import Reason
from ds01.core.limits import LifecycleLimits
from tests.search_effort import tries

LIMITS = LifecycleLimits(
    idle=1800, runtime=86400, gpu_hold=900, container_hold=1800, created_hold=1800, stop_grace=60, idle_cpu_percent=2.0
)
LEADS = Leads(idle=900, runtime=1800)
QUIET = Sample(0.0, 0.0, 1, 0.0, 0)


def test_an_interval_is_judged_by_rates_and_by_every_signal() -> None:
    def judge(**after: object) -> Activity:
        return interval(QUIET, dataclasses.replace(QUIET, at=60.0, **after), LIMITS)  # type: ignore[arg-type]

    assert judge() is Activity.IDLE
    assert judge(gpu_percent=5.0) is Activity.ACTIVE
    assert judge(gpu_percent=4.9) is Activity.IDLE
    assert judge(cpu_seconds=1.2) is Activity.ACTIVE
    assert judge(cpu_seconds=1.19) is Activity.IDLE
    assert judge(network_bytes=10240 * 60) is Activity.ACTIVE
    assert judge(gpu_percent=None) is Activity.UNKNOWN
    assert judge(gpu_percent=None, gpu_processes=0) is Activity.IDLE
    assert judge(gpu_percent=90.0, gpu_processes=0) is Activity.IDLE
    assert judge(gpu_percent=None, gpu_processes=None) is Activity.UNKNOWN
    assert judge(gpu_percent=None, cpu_seconds=5.0) is Activity.ACTIVE
    assert judge(cpu_seconds=None) is Activity.UNKNOWN
    assert judge(keep_alive_age=86400.0) is Activity.ACTIVE
    assert judge(keep_alive_age=86401.0) is Activity.IDLE
    assert interval(QUIET, QUIET, LIMITS) is Activity.UNKNOWN


def test_what_was_received_once_does_not_keep_a_container_for_ever() -> None:
    before = dataclasses.replace(QUIET, network_bytes=10**12, cpu_seconds=10.0**6)
    assert interval(before, dataclasses.replace(before, at=60.0), LIMITS) is Activity.IDLE


def live(minutes: int, history: History = History(), start: float = 0.0, **sample: object) -> tuple[list[tuple[float, object]], History]:  # noqa: B008
    """Sweep once a minute over an unchanging container; returns what was done and when (minutes)."""
    done: list[tuple[float, object]] = []
    for minute in range(minutes + 1):
        at = start + minute * 60.0
        history = observe(history, dataclasses.replace(QUIET, at=at, **sample), LIMITS)  # type: ignore[arg-type]
        actions, history = decide(history, LIMITS, LEADS, at)
        done += [(at / 60, action) for action in actions]
        if any(isinstance(action, Stop) for action in actions):
            break
    return done, history


def test_an_idle_container_is_warned_fifteen_minutes_before_and_stopped_after_its_limit() -> None:
    done, _ = live(120)
    assert done == [(45, Warn(Reason.IDLE, 900.0, 900.0, 1800.0)), (60, Stop(Reason.IDLE, 1800.0, 1800.0))]


def test_unknown_stops_the_clock_and_restarts_do_not_count_as_idle() -> None:
    assert live(600, gpu_percent=None)[0] == [(15, Puzzled(900.0))], "said once, and nothing else is done"
    _, history = live(50)
    history = observe(history, dataclasses.replace(QUIET, at=51 * 60.0), LIMITS, run="second", up_s=10.0)
    assert history.idle_s == 0.0
    assert history.warned == {}
    assert history.run_s == 51 * 60.0


def test_of_the_time_before_a_restart_that_nobody_saw_little_counts_as_running() -> None:
    _, history = live(10)
    history = observe(history, dataclasses.replace(QUIET, at=3 * 86400.0), LIMITS, run="second", up_s=60.0)
    assert history.run_s == 600.0 + 60.0 + 180.0


def test_a_container_that_ran_before_anybody_looked_is_as_old_as_it_is_and_is_warned_first() -> None:
    history = observe(History(), QUIET, LIMITS, run="first", up_s=90000.0)
    actions, history = decide(history, LIMITS, LEADS, 0.0)
    assert actions == [Warn(Reason.RUNTIME, 1800.0, 90000.0, 86400.0)]


def test_an_idle_limit_below_the_window_counts_as_the_window() -> None:
    limits = dataclasses.replace(LIMITS, idle=120, start_grace=0, idle_window=900)
    history, found = History(), []
    for minute in range(60):
        history = observe(history, dataclasses.replace(QUIET, at=minute * 60.0), limits)
        actions, history = decide(history, limits, LEADS, minute * 60.0)
        found += [(minute, action) for action in actions]
        if any(isinstance(action, Stop) for action in actions):
            break
    assert found == [(8, Warn(Reason.IDLE, 450.0, 480.0, 900.0)), (16, Stop(Reason.IDLE, 960.0, 900.0))]


def test_standing_still_is_counted_from_the_first_look_and_not_by_the_wall_clock() -> None:
    history = rest(live(10)[1], 700.0)
    assert (history.still_s, history.last, history.warned) == (0.0, None, {})
    history = rest(history, 760.0)
    assert history.still_s == 60.0
    assert rest(history, 10.0).still_s == 60.0
    assert observe(history, dataclasses.replace(QUIET, at=800.0), LIMITS, run="x").still_s == 0.0


def test_work_withdraws_the_warning_and_the_next_one_is_given_in_full() -> None:
    _, history = live(50)
    busy = dataclasses.replace(QUIET, at=51 * 60.0, gpu_percent=90.0)
    history = observe(history, busy, LIMITS)
    actions, history = decide(history, LIMITS, LEADS, busy.at)
    assert actions == [Withdraw(Reason.IDLE)]
    done, _ = live(120, history, start=52 * 60.0)
    assert done == [(66, Warn(Reason.IDLE, 900.0, 900.0, 1800.0)), (81, Stop(Reason.IDLE, 1800.0, 1800.0))]


def test_a_late_warning_postpones_the_stop() -> None:
    history = dataclasses.replace(History(), last=QUIET, last_activity=Activity.IDLE, idle_s=1800.0, run_s=90000.0)
    actions, history = decide(history, LIMITS, LEADS, 0.0)
    assert actions == [Warn(Reason.IDLE, 900.0, 1800.0, 1800.0), Warn(Reason.RUNTIME, 1800.0, 90000.0, 86400.0)]
    assert decide(history, LIMITS, LEADS, 899.0)[0] == []
    assert decide(history, LIMITS, LEADS, 900.0)[0] == [Stop(Reason.IDLE, 1800.0, 1800.0)]


def test_a_shorter_limit_does_not_break_a_promise_that_was_given() -> None:
    _, history = live(46)  # warned at 45: not before 60
    short = dataclasses.replace(LIMITS, idle=600, idle_window=600)
    for minute in range(47, 60):
        history = observe(history, dataclasses.replace(QUIET, at=minute * 60.0), short)
        actions, history = decide(history, short, Leads(60, 60), minute * 60.0)
        assert actions == [], minute
    assert history.warned == {Reason.IDLE: Promise(2700.0, 3600.0)}
    history = observe(history, dataclasses.replace(QUIET, at=3600.0), short)
    assert decide(history, short, Leads(60, 60), 3600.0)[0] == [Stop(Reason.IDLE, 1800.0, 600.0)]


def test_a_warning_that_a_stop_has_taken_the_place_of_is_given_if_the_stop_fails() -> None:
    limits = dataclasses.replace(LIMITS, runtime=600, idle_window=60, start_grace=0)
    history = History(last=QUIET, last_activity=Activity.IDLE, idle_s=900.0, run_s=900.0, warned={Reason.RUNTIME: Promise(0.0, 300.0)})
    actions, history = decide(history, limits, LEADS, 300.0)
    assert actions == [Stop(Reason.RUNTIME, 900.0, 600.0)]
    assert Reason.IDLE not in history.warned, "remembered as said, and nobody said it"


def test_unknown_use_counts_as_the_policy_says() -> None:
    def judge(use: str, **after: object) -> Activity:
        sample = dataclasses.replace(QUIET, at=60.0, **after)  # type: ignore[arg-type]
        return interval(QUIET, sample, dataclasses.replace(LIMITS, unknown_use=use))

    found = {use: judge(use, gpu_percent=None) for use in ("wait", "idle", "active")}
    assert found == {"wait": Activity.UNKNOWN, "idle": Activity.IDLE, "active": Activity.ACTIVE}
    nothing = {"gpu_percent": None, "gpu_processes": None, "cpu_seconds": None, "network_bytes": None}
    assert judge("idle", **nothing) is Activity.UNKNOWN, "nothing is known of it at all"
    assert judge("idle", gpu_percent=None, cpu_seconds=60.0) is Activity.ACTIVE


@pytest.mark.parametrize(("keep_alive", "age", "active"), [(None, 1e9, True), (86400, 86401.0, False), (0, 1.0, False), (0, 0.0, True)])
def test_a_keep_alive_file_counts_up_to_its_age_or_for_ever(keep_alive: int | None, age: float, active: bool) -> None:
    sample = dataclasses.replace(QUIET, at=60.0, keep_alive_age=age)
    assert (interval(QUIET, sample, dataclasses.replace(LIMITS, keep_alive=keep_alive)) is Activity.ACTIVE) is active


@pytest.mark.parametrize(("counts", "stops"), [("life", True), ("start", False)])
def test_the_runtime_is_counted_over_the_life_or_from_each_start(counts: str, stops: bool) -> None:
    limits = dataclasses.replace(LIMITS, idle=None, runtime=7200, runtime_counts=counts)
    history, found = History(), []
    for minute in range(600):  # started anew every 100 minutes
        at, run = minute * 60.0, str(minute // 100)
        history = observe(history, dataclasses.replace(QUIET, at=at), limits, run=run, up_s=minute % 100 * 60.0)
        actions, history = decide(history, limits, LEADS, at)
        found += [type(action) for action in actions]
        if Stop in found:
            break
    assert (Stop in found) is stops
    assert Warn in found


def test_a_warning_of_one_start_does_not_hold_for_the_next() -> None:
    limits = dataclasses.replace(LIMITS, idle=None, runtime=7200, runtime_counts="start")
    history = observe(History(), QUIET, limits, run="1", up_s=6000.0)
    actions, history = decide(history, limits, LEADS, 0.0)
    assert [type(action) for action in actions] == [Warn]
    history = observe(history, dataclasses.replace(QUIET, at=90000.0), limits, run="2", up_s=8000.0)
    actions, history = decide(history, limits, LEADS, 90000.0)
    assert actions == [Warn(Reason.RUNTIME, 1800.0, 8000.0, 7200.0)]


def test_a_drain_stops_what_runs_at_its_deadline_with_its_warning_and_not_when_it_is_called_off() -> None:
    exempt = dataclasses.replace(LIMITS, idle=None, runtime=None)
    drain, history, found = Drain(7200.0, 1800.0), History(), []
    for minute in range(121):
        at = minute * 60.0
        history = observe(history, dataclasses.replace(QUIET, at=at, gpu_percent=99.0), exempt)
        actions, history = decide(history, exempt, LEADS, at, drain)
        found += [(minute, action) for action in actions]
    warned = Warn(Reason.MAINTENANCE, 1920.0, -120.0, 1800.0)
    assert found == [(88, warned), (120, Stop(Reason.MAINTENANCE, 1800.0, 1800.0))]
    history = observe(History(), QUIET, exempt)
    ahead = outlook(history, exempt, LEADS, 0.0, drain)
    assert [(one.reason, one.spent_s, one.due_s, one.warned) for one in ahead] == [(Reason.MAINTENANCE, 0.0, 7200.0, False)]
    _, history = decide(history, exempt, LEADS, 7000.0, drain)
    actions, history = decide(history, exempt, LEADS, 7200.0, drain)
    assert actions == [], "warned late: the promise holds"
    assert decide(history, exempt, LEADS, 7300.0, None)[0] == [Withdraw(Reason.MAINTENANCE)]


def test_exempt_means_never() -> None:
    exempt = dataclasses.replace(LIMITS, idle=None, runtime=None, container_hold=None, created_hold=None)
    history = dataclasses.replace(History(), idle_s=1e9, run_s=1e9)
    assert decide(history, exempt, LEADS, 1e9)[0] == []
    assert decide_stopped(exempt, started=True, age_s=1e9, keep=False) == []
    assert outlook(history, exempt, LEADS, 1e9) == []


@pytest.mark.parametrize(
    ("started", "age", "keep", "expected"),
    [
        (False, 1799, False, []),
        (False, 1800, False, [Remove(Reason.NEVER_STARTED, 1800, 1800.0)]),
        (True, 1799, False, []),
        (True, 1800, False, [Remove(Reason.STOPPED, 1800, 1800.0)]),
        (True, 10**9, True, []),
    ],
)
def test_containers_that_do_not_run(started: bool, age: float, keep: bool, expected: list[Remove]) -> None:
    assert decide_stopped(LIMITS, started=started, age_s=age, keep=keep) == expected


STEP = st.tuples(
    st.floats(1, 4000),
    st.sampled_from([None, 0.0, 3.0, 50.0]),
    st.sampled_from([None, 0.0, 5.0]),
    st.sampled_from([False, False, False, True]),
)
CHANGES = st.fixed_dictionaries(
    {"idle": st.one_of(st.none(), st.integers(60, 5000)), "runtime": st.one_of(st.none(), st.integers(60, 9000))}
)


@tries(400)
@given(st.lists(STEP, max_size=80), CHANGES, st.integers(10, 3000), st.integers(10, 3000))
def test_no_stop_without_its_warning_nor_of_the_exempt_or_the_active(
    steps: list[tuple], changes: dict, idle_lead: int, run_lead: int
) -> None:  # type: ignore[type-arg]
    limits = dataclasses.replace(LIMITS, start_grace=0, idle_window=60, **changes)
    leads = Leads(idle_lead, run_lead)
    history, now, cpu, run = History(), 0.0, 0.0, 0
    warned: dict[Reason, float] = {}
    for seconds, gpu, cpu_rate, restarted in steps:
        now += seconds
        cpu += 0.0 if cpu_rate is None else seconds * cpu_rate / 100
        sample = Sample(now, gpu, 1, None if cpu_rate is None else cpu, 0)
        run += restarted
        history = observe(history, sample, limits, run=str(run), up_s=0.0 if run else 1.0)
        actions, history = decide(history, limits, leads, now)
        for action in actions:
            if isinstance(action, Puzzled):
                continue
            limit = {Reason.IDLE: limits.idle, Reason.RUNTIME: limits.runtime}[action.reason]
            assert limit is not None or isinstance(action, Withdraw)
            if isinstance(action, Warn):
                warned[action.reason] = now
            elif isinstance(action, Withdraw):
                del warned[action.reason]
            elif isinstance(action, Stop):
                at = warned[action.reason]
                assert limit is not None
                assert now - at >= min((leads.idle if action.reason is Reason.IDLE else leads.runtime), limit / 2)
                assert action.after_s >= limit
                assert action.reason is Reason.RUNTIME or history.last_activity is Activity.IDLE
                return
        if restarted:
            warned.pop(Reason.IDLE, None)
