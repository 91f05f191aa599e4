# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whole lives of containers, sweep by sweep, with the program ended and started again in between: what is promised is kept.

The history goes through its file between any two sweeps, as it does when each sweep is a process of its own.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.activity import Sample
from ds01.core.lifecycle import Leads, Puzzled, Remove, Stop, Warn, Withdraw
from ds01.core.lifecycle_history import MAX_GAP_S, Asked, History, Promise
from ds01.core.lifecycle_reason import Reason
from ds01.core.lifecycle_state import histories_of, lasting, volatile
from ds01.core.lifecycle_subject import Subject
from ds01.core.limits import LifecycleLimits
from ds01.core.sweep_plan import OVERDUE_S, Overdue, Seen, Step, Stopped, plan
from tests.search_effort import tries

MINE = Subject(1000, "student1", "docker", False, False)
LIMITS = LifecycleLimits(
    idle=1800,
    runtime=86400,
    gpu_hold=900,
    container_hold=1800,
    created_hold=1800,
    stop_grace=60,
    idle_cpu_percent=2.0,
    start_grace=0,
    idle_window=60,
)
LEADS = Leads(900, 1800)
KINDS = ("docker", "compose", "devcontainer", "ds01", "api", "batch", "unknown")


def through_files(histories: dict[str, History], *, reboot: bool = False, lost: bool = False) -> dict[str, History]:
    """What the next process reads of what this one left; ``lost``: the file below /run has gone."""
    now = None if lost else json.loads(json.dumps(volatile(histories, "boot-1")))
    kept = json.loads(json.dumps(lasting(histories, {}, "boot-1")))
    return histories_of(now, kept, "boot-2" if reboot else "boot-1")


def seen(state: str = "running", at: float = 0.0, run: str = "1", up_s: float = 0.0, **sample: object) -> Seen:
    quiet: dict[str, object] = {"gpu_percent": 0.0, "gpu_processes": 1, "cpu_seconds": 0.0, "network_bytes": 0}
    one = Sample(at, **{**quiet, **sample}) if state == "running" else None  # type: ignore[arg-type]
    return Seen("c1", "train", state, MINE, LIMITS, one, run, up_s)


def step(one: Seen, histories: dict[str, History], at: float) -> tuple[list[object], dict[str, History]]:
    planned = plan([one], histories, LEADS, at)
    return [found.action for found in planned.steps], through_files(dict(planned.histories))


def test_what_is_remembered_survives_its_file() -> None:
    history = History(
        last=Sample(5.0, None, 3, 1.5, 7, 2.0),
        idle_s=3.0,
        run_s=9.0,
        since_start_s=4.0,
        warned={Reason.IDLE: Promise(4.0, 9.0)},
        still_s=1.0,
        run="77",
        asked=Asked(Reason.RUNTIME, 9.0, 8.0, 5.0),
    )
    assert through_files({"a": history}) == {"a": history}
    assert through_files({"a": history}, reboot=True) == {"a": History(run_s=9.0, still_s=1.0)}


@pytest.mark.parametrize("now", [None, [], {"boot": "boot-1"}, {"boot": "boot-1", "containers": {"a": {"idle_s": "x"}, "b": 3}}, "x", 7])
@pytest.mark.parametrize("kept", [None, [], {"containers": {"a": {"run_s": "much"}}}, {"containers": 5}])
def test_damaged_files_begin_anew_and_raise_nothing(now: object, kept: object) -> None:
    assert all(history == History() for history in histories_of(now, kept, "boot-1").values())


def test_a_stop_is_asked_for_once_and_said_when_it_has_come_about() -> None:
    histories: dict[str, History] = {
        "c1": History(last=Sample(0.0, 0.0, 1, 0.0, 0), idle_s=1800.0, run="1", warned={Reason.IDLE: Promise(0.0, 900.0)})
    }
    actions, histories = step(seen(at=900.0), histories, 900.0)
    assert actions == [Stop(Reason.IDLE, 1980.0, 1800.0)]
    actions, histories = step(seen(at=960.0), histories, 960.0)
    assert actions == []
    actions, histories = step(seen("exited"), histories, 1020.0)
    assert actions == [Stopped(Reason.IDLE, 1980.0, 1800.0)]
    assert step(seen("exited"), histories, 1080.0)[0] == []


def test_a_stop_that_does_not_come_about_is_said_and_asked_for_again() -> None:
    asked = Asked(Reason.RUNTIME, 90000.0, 86400.0, 0.0)
    before = History(
        last=Sample(0.0, 0.0, 1, 0.0, 0), run_s=90000.0, run="1", warned={Reason.RUNTIME: Promise(-2000.0, -200.0)}, asked=asked
    )
    late = LIMITS.stop_grace + OVERDUE_S
    assert step(seen(at=late - 1), {"c1": before}, late - 1)[0] == []
    actions, histories = step(seen(at=late), {"c1": before}, late)
    assert actions == [Overdue(Reason.RUNTIME, 90000.0, 86400.0), Stop(Reason.RUNTIME, 90120.0, 86400.0)]
    assert histories["c1"].asked == Asked(Reason.RUNTIME, 90120.0, 86400.0, late)


def test_a_container_that_its_owner_started_again_was_stopped_nevertheless() -> None:
    asked = Asked(Reason.IDLE, 2000.0, 1800.0, 0.0)
    before = History(last=Sample(0.0, 0.0, 1, 0.0, 0), idle_s=2000.0, run="1", asked=asked)
    actions, histories = step(seen(at=60.0, run="2", up_s=10.0), {"c1": before}, 60.0)
    assert actions == [Stopped(Reason.IDLE, 2000.0, 1800.0)]
    assert histories["c1"].asked is None and histories["c1"].idle_s == 0.0


def test_a_container_that_cannot_be_sampled_is_never_idle_but_its_runtime_goes_on() -> None:
    histories: dict[str, History] = {}
    for minute in range(60 * 25):
        one = Seen("c1", "train", "restarting", MINE, dataclasses.replace(LIMITS, runtime=86400))
        actions, histories = step(one, histories, minute * 60.0)
        assert not any(getattr(action, "reason", None) is Reason.IDLE for action in actions)
        if actions and isinstance(actions[0], Stop):
            assert minute == 60 * 24
            return
    raise AssertionError("a container that can't be sampled ran for ever")


@pytest.mark.parametrize("accident", ["none", "lost", "reboot"])
def test_restarts_reboots_and_lost_files_do_not_change_the_runtime(accident: str) -> None:
    histories: dict[str, History] = {}
    stopped_at = None
    for minute in range(60 * 30):
        run, up = str(minute // 120), float(minute % 120) * 60.0
        if accident == "reboot" and 701 <= minute < 720:
            run, up = "after", (minute - 701) * 60.0
        planned = plan([seen(at=minute * 60.0, run=run, up_s=up, gpu_percent=90.0)], histories, LEADS, minute * 60.0)
        histories = through_files(
            dict(planned.histories), reboot=accident == "reboot" and minute == 700, lost=accident == "lost" and minute == 700
        )
        if any(isinstance(found.action, Stop) for found in planned.steps):
            stopped_at = minute
            break
    assert stopped_at is not None
    assert abs(stopped_at - 60 * 24) <= 3


@pytest.mark.parametrize("state", ["created", "exited", "dead"])
@pytest.mark.parametrize("keep", [False, True])
def test_what_does_not_run_is_removed_in_time_also_over_a_reboot(state: str, keep: bool) -> None:
    whose = dataclasses.replace(MINE, keep=keep)
    histories: dict[str, History] = {}
    removed = None
    for minute in range(120):
        planned = plan([dataclasses.replace(seen(state), subject=whose)], histories, LEADS, minute * 60.0)
        histories = through_files(dict(planned.histories), reboot=minute == 10)
        if planned.steps and removed is None:
            assert isinstance(planned.steps[0].action, Remove)
            removed = minute
    assert removed is None if keep else removed is not None and 30 <= removed <= 32


def test_infrastructure_and_what_is_going_away_is_left_alone_and_what_is_gone_is_forgotten() -> None:
    old = {"c1": History(idle_s=1e6, run_s=1e9), "gone": History()}
    protected = dataclasses.replace(seen(at=1.0), subject=dataclasses.replace(MINE, protected=True))
    assert plan([protected], old, LEADS, 1.0) == plan([], {}, LEADS, 1.0)
    assert plan([seen("removing")], old, LEADS, 1.0).steps == ()
    assert set(plan([seen("removing")], old, LEADS, 1.0).histories) == {"c1"}


@dataclass
class Life:
    """What really happens to a container, minute by minute, against which the decisions are held."""

    now: float = 1000.0
    run: int = 1
    started: float = 1000.0
    cpu: float = 0.0
    quiet_since: float | None = None
    warned: dict[Reason, float] = field(default_factory=dict)


STEPS = st.lists(
    st.tuples(
        st.one_of(st.just(60.0), st.floats(1.0, 7200.0)),  # until the next sweep; long: sweeps were missed
        st.sampled_from(["idle", "idle", "idle", "idle", "busy", "unknown"]),
        st.sampled_from(["", "", "", "", "", "", "", "restart", "killed program", "reboot", "exempt", "not exempt"]),
    ),
    max_size=120,
)
SETTINGS = st.fixed_dictionaries(
    {
        "idle": st.one_of(st.none(), st.integers(60, 7200)),
        "runtime": st.one_of(st.none(), st.integers(60, 90000)),
        "start_grace": st.sampled_from([0, 600, 1800]),
        "idle_window": st.sampled_from([60, 900]),
    }
)


def sweeps(
    steps: list[tuple[float, str, str]], limits: LifecycleLimits, leads: Leads, kind: str
) -> Iterator[tuple[Life, str, LifecycleLimits, Step]]:
    life, histories, exempt = Life(), {}, False
    for seconds, doing, event in steps:
        life.now += seconds
        life.cpu += seconds if doing == "busy" else 0.0
        life.quiet_since = None if doing != "idle" else life.quiet_since if life.quiet_since is not None else life.now - seconds
        exempt = exempt if event not in ("exempt", "not exempt") else event == "exempt"
        if event == "restart":
            life.run, life.started, life.cpu, life.quiet_since = life.run + 1, life.now, 0.0, None
            life.warned.pop(Reason.IDLE, None)
        if event == "reboot":
            life.run, life.now, life.started, life.cpu, life.quiet_since = life.run + 1, 10.0, 10.0, 0.0, None
            life.warned.clear()
            histories = through_files(histories, reboot=True)
        hold = dataclasses.replace(limits, idle=None, runtime=None) if exempt else limits
        sample = Sample(life.now, None if doing == "unknown" else 0.0, 1, life.cpu, 0)
        one = Seen("c1", "train", "running", dataclasses.replace(MINE, kind=kind), hold, sample, str(life.run), life.now - life.started)
        planned = plan([one], histories, leads, life.now)
        for found in planned.steps:
            if isinstance(found.action, Puzzled) or (isinstance(found.action, Withdraw) and event == "killed program"):
                continue  # said only when it is remembered, and it died before that
            yield life, doing, hold, found
            if isinstance(found.action, Stop):
                return
        if event != "killed program":  # killed before it could write: the next one decides from what the last one left
            histories = through_files(dict(planned.histories))


@tries(300)
@given(STEPS, SETTINGS, st.integers(10, 3600), st.integers(10, 3600), st.sampled_from(KINDS))
def test_no_stop_without_its_warning_and_none_of_the_exempt_or_the_active(
    steps: list[tuple[float, str, str]], changes: dict[str, int | None], idle_lead: int, run_lead: int, kind: str
) -> None:
    limits = dataclasses.replace(LIMITS, **changes)  # type: ignore[arg-type]
    leads = Leads(idle_lead, run_lead)
    for life, doing, hold, found in sweeps(steps, limits, leads, kind):
        action = found.action
        if isinstance(action, Warn):
            life.warned[action.reason] = life.now
            assert {Reason.IDLE: hold.idle, Reason.RUNTIME: hold.runtime}[action.reason] is not None
        elif isinstance(action, Withdraw):
            life.warned.pop(action.reason, None)
        elif isinstance(action, Stop):
            limit = {Reason.IDLE: hold.idle, Reason.RUNTIME: hold.runtime}[action.reason]
            assert limit is not None, "an exempt container was stopped"
            effective = max(limit, hold.idle_window) if action.reason is Reason.IDLE else limit
            promised = min((leads.idle if action.reason is Reason.IDLE else leads.runtime), effective / 2)
            assert life.now - life.warned[action.reason] >= promised - 1e-6, "stopped sooner than was promised"
            assert action.after_s >= limit
            if action.reason is Reason.IDLE:
                assert doing == "idle" and life.quiet_since is not None, "an active container was stopped as idle"
                assert life.now - life.started >= hold.start_grace


@tries(100)
@given(st.lists(st.floats(1.0, 170.0), min_size=1, max_size=300), st.integers(120, 7200), st.integers(10, 3600))
def test_an_idle_container_is_stopped_no_later_than_limit_lead_and_a_sweep(gaps: list[float], idle: int, lead: int) -> None:
    limits = dataclasses.replace(LIMITS, idle=idle, runtime=None)
    histories: dict[str, History] = {}
    now, first, longest = 0.0, 0.0, max(gaps)
    for gap in gaps:
        now += gap
        planned = plan([dataclasses.replace(seen(at=now), limits=limits)], histories, Leads(lead, lead), now)
        histories = through_files(dict(planned.histories))
        first = first or now
        if any(isinstance(found.action, Stop) for found in planned.steps):
            return
        assert gap > MAX_GAP_S or now - first <= idle + 3 * longest, "an idle container was not stopped in time"


def test_time_zones_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same life in zones with and without daylight saving; the texts are in UTC."""
    from ds01.core.notices import Whose, warning

    told = set()
    for zone in ("UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        histories: dict[str, History] = {}
        steps = []
        for minute in range(70):
            actions, histories = step(seen(at=minute * 60.0), histories, minute * 60.0)
            steps += [(minute, action) for action in actions]
        text = warning(Whose(1000, "student1", "train", "c1"), Reason.IDLE, 900.0, 900.0, 1800.0, 1792890000.0).text
        told.add((repr(steps), text))
    monkeypatch.undo()
    time.tzset()
    assert len(told) == 1
