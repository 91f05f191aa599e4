# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What is done to systemd units follows from their state alone."""

from __future__ import annotations

import pytest

from ds01.core.unit_plan import DesiredUnit, UnitState, plan_unit, plan_units

RUNNING = UnitState(True, True, False, "enabled", False, 100.0)
DOWN = UnitState(True, False, False, "disabled", False, None)
NAME = "x.service"


def verbs(unit: DesiredUnit, state: UnitState, newest: float | None = None) -> list[str]:
    return [step.verb for step in plan_unit(unit, state, newest)]


@pytest.mark.parametrize(
    ("unit", "state", "newest", "expected"),
    [
        (DesiredUnit(NAME, enabled=True), RUNNING, None, []),
        (DesiredUnit(NAME, enabled=True), RUNNING, 99.9, []),
        (DesiredUnit(NAME, enabled=True), RUNNING, 100.1, ["restart"]),
        (DesiredUnit(NAME, on_change="reload"), RUNNING, 100.1, ["reload"]),
        (DesiredUnit(NAME, enabled=True), DOWN, 500.0, ["enable", "start"]),
        (DesiredUnit(NAME), DOWN, None, ["start"]),
        (DesiredUnit(NAME, enabled=False), RUNNING, None, ["disable"]),
        (DesiredUnit(NAME, state="stopped", enabled=False), RUNNING, None, ["disable", "stop"]),
        (DesiredUnit(NAME, state="stopped"), DOWN, 500.0, []),
        (DesiredUnit(NAME, state="kept"), DOWN, 500.0, []),
        (DesiredUnit(NAME, state="kept"), UnitState(False, False, False, "", False, None), 500.0, []),
        (DesiredUnit(NAME, state="kept"), RUNNING, 99.9, []),
        (DesiredUnit(NAME, state="kept"), RUNNING, 100.1, ["restart"]),
        (DesiredUnit(NAME, masked=True), RUNNING, None, ["stop", "mask"]),
        (DesiredUnit(NAME, masked=True), UnitState(True, False, False, "masked", False, None), None, []),
        (DesiredUnit(NAME, enabled=True), UnitState(True, True, False, "static", False, 1.0), None, []),
    ],
)
def test_steps(unit: DesiredUnit, state: UnitState, newest: float | None, expected: list[str]) -> None:
    assert verbs(unit, state, newest) == expected


def test_the_manager_is_reloaded_once_and_first() -> None:
    stale = UnitState(True, True, False, "enabled", True, 100.0)
    units = [(DesiredUnit("a.service", sources=("/a",)), 200.0), (DesiredUnit("b.service"), None)]
    steps = plan_units(units, {"a.service": stale, "b.service": stale})
    assert [(step.verb, step.unit) for step in steps] == [("daemon-reload", ""), ("restart", "a.service")]


@pytest.mark.parametrize(
    ("state", "restarting", "reloading", "expected"),
    [
        (RUNNING, 200.0, 200.0, ["restart"]),
        (RUNNING, 50.0, 200.0, ["reload"]),
        (RUNNING, 200.0, 50.0, ["restart"]),
        (RUNNING, 50.0, 50.0, []),
        (DOWN, 50.0, 200.0, ["enable", "start"]),
    ],
)
def test_a_unit_that_starts_anew_is_not_reloaded_too(state: UnitState, restarting: float, reloading: float, expected: list[str]) -> None:
    units = [(DesiredUnit(NAME, enabled=True), restarting), (DesiredUnit(NAME, enabled=True, on_change="reload"), reloading)]
    assert [step.verb for step in plan_units(units, {NAME: state})] == expected
