# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""No warning later than promised, no stop without its warning, none of an exempt or active container: in random histories by number.

``LIFECYCLE_HISTORIES=1000000 pytest tests/unit/lifecycle/test_random_histories.py`` for the long run (``make fuzz``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ds01.core import activity, lifecycle, lifecycle_history, sweep_plan
from ds01.core.activity import Activity
from ds01.core.lifecycle_history import History, Promise
from tests.search_effort import PROFILE

from .random_histories import BrokenPromise, histories

COUNT = int(os.environ.get("LIFECYCLE_HISTORIES") or (1_000_000 if PROFILE == "fuzz" else 20_000))
SEED = int(os.environ.get("LIFECYCLE_SEED") or 1)


def test_what_is_promised_is_kept_in_many_random_histories() -> None:
    done = histories(COUNT, SEED)
    for what in ("Warn", "Withdraw", "Puzzled", "Stop", "Overdue", "Stopped", "idle", "runtime", "maintenance"):
        assert done[what] > COUNT / 500, f"{what} hardly happens in these histories: {dict(done)}"


def _stop_whenever_the_limit_is_reached(history: History, *rest: Any) -> Any:
    return lifecycle.decide(replace(history, warned={reason: Promise(0.0, 0.0) for reason in history.warned}), *rest)


def _a_promise_moves_with_the_limit(history: History, limits: Any, leads: Any, now: float, drain: Any) -> Any:
    moved = {reason: Promise(one.at, min(one.until, one.at + 30.0)) for reason, one in history.warned.items()}
    return lifecycle.decide(replace(history, warned=moved), limits, leads, now, drain)


def _nobody_is_exempt(history: History, limits: Any, *rest: Any) -> Any:
    return lifecycle.decide(history, replace(limits, idle=limits.idle or 600, runtime=limits.runtime or 600), *rest)


def _warnings_are_forgotten_to_be_said(history: History, *rest: Any) -> Any:
    actions, after = lifecycle.decide(history, *rest)
    return [one for one in actions if not isinstance(one, lifecycle.Warn)], after


def _warned_at_the_last_moment(history: History, limits: Any, leads: Any, *rest: Any) -> Any:
    return lifecycle.decide(history, limits, lifecycle.Leads(leads.idle / 10, leads.runtime / 10), *rest)


@pytest.mark.parametrize(
    "wrong",
    [
        _stop_whenever_the_limit_is_reached,
        _a_promise_moves_with_the_limit,
        _nobody_is_exempt,
        _warnings_are_forgotten_to_be_said,
        _warned_at_the_last_moment,
    ],
)
def test_a_wrong_decision_would_be_found(wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_plan, "decide", wrong)
    with pytest.raises(BrokenPromise):
        histories(3000)


@pytest.mark.parametrize("signal", ["cpu_seconds", "network_bytes", "keep_alive_age", "gpu_percent"])
def test_a_signal_that_is_not_looked_at_would_be_found(signal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blind = {"cpu_seconds": 0.0, "network_bytes": 0, "keep_alive_age": None, "gpu_percent": 0.0}[signal]

    def interval(before: Any, after: Any, limits: Any) -> Activity:
        return activity.interval(replace(before, **{signal: blind}), replace(after, **{signal: blind}), limits)

    monkeypatch.setattr(lifecycle_history, "interval", interval)
    with pytest.raises(BrokenPromise):
        histories(3000)


def test_unknown_taken_for_idle_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def interval(before: Any, after: Any, limits: Any) -> Activity:
        return activity.interval(before, after, replace(limits, unknown_use="idle"))

    monkeypatch.setattr(lifecycle_history, "interval", interval)
    with pytest.raises(BrokenPromise):
        histories(3000)
