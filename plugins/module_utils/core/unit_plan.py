# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What has to be done to systemd units so that they run what their files say. Nothing is remembered: it follows from the unit's state.

A restart that was missed, because a converge stopped half-way, is found by the next one: the process is older than what it was to read.
"""

from __future__ import annotations

from dataclasses import dataclass

STARTED, STOPPED, KEPT = "started", "stopped", "kept"


class UnitError(Exception):
    """Raised where a unit can't be had as asked for; the message names it and what systemd said."""


@dataclass(frozen=True)
class DesiredUnit:
    """``sources`` are files that a running service has read: a newer one asks for ``on_change`` (restart or reload).

    With the state ``kept`` it runs or not as before, and need not be there.
    """

    name: str
    state: str = STARTED
    enabled: bool | None = None
    masked: bool = False
    sources: tuple[str, ...] = ()
    on_change: str = "restart"


@dataclass(frozen=True)
class UnitState:
    """What systemd says. ``since`` is when it last became active or was reloaded, seconds since the epoch; None when it is not active."""

    loaded: bool
    active: bool
    failed: bool
    file_state: str
    needs_daemon_reload: bool
    since: float | None


@dataclass(frozen=True)
class UnitStep:
    """One systemctl call: the verb, the unit (empty for the manager itself) and what it is in words."""

    verb: str
    unit: str
    action: str


def _enabling(unit: DesiredUnit, state: UnitState) -> list[UnitStep]:
    if unit.enabled is None or unit.masked:
        return []
    enabled = state.file_state in ("enabled", "enabled-runtime", "alias", "static", "indirect", "generated", "linked")
    if unit.enabled and not enabled:
        return [UnitStep("enable", unit.name, f"enable {unit.name}")]
    if not unit.enabled and state.file_state in ("enabled", "enabled-runtime"):
        return [UnitStep("disable", unit.name, f"disable {unit.name}")]
    return []


def plan_unit(unit: DesiredUnit, state: UnitState, newest_source: float | None) -> list[UnitStep]:
    """The steps for one unit. ``newest_source`` is the latest change of its sources, seconds since the epoch, None for no source."""
    if unit.masked:
        steps = [UnitStep("stop", unit.name, f"stop {unit.name}")] if state.active else []
        return steps if state.file_state == "masked" else [*steps, UnitStep("mask", unit.name, f"mask {unit.name}")]
    steps = _enabling(unit, state)
    if unit.state == STOPPED:
        return [*steps, UnitStep("stop", unit.name, f"stop {unit.name}")] if state.active else steps
    if unit.state == KEPT and not state.active:
        return steps
    if not state.active:
        return [*steps, UnitStep("start", unit.name, f"start {unit.name}")]
    if newest_source is not None and (state.since is None or newest_source > state.since):
        return [*steps, UnitStep(unit.on_change, unit.name, f"{unit.on_change} {unit.name}")]
    return steps


def plan_units(units: list[tuple[DesiredUnit, float | None]], states: dict[str, UnitState]) -> list[UnitStep]:
    """The manager's reload first when a unit's files are newer than what it has loaded, then each unit in the order of the list.

    ``units`` are units, each with the latest change of its sources (see ``plan_unit``). A unit may stand in the list twice, with sources
    that ask for a restart and sources that ask for a reload. One that is started anew has read everything and is not reloaded: a SIGHUP
    in its first moments, before it handles signals, would end it.
    """
    reload_manager = any(states[unit.name].needs_daemon_reload for unit, _ in units)
    steps = [UnitStep("daemon-reload", "", "reload systemd's units")] if reload_manager else []
    fresh: set[str] = set()
    for unit, newest in units:
        wanted = [step for step in plan_unit(unit, states[unit.name], newest) if step not in steps]
        steps += [step for step in wanted if not (step.verb in ("start", "restart", "reload") and step.unit in fresh)]
        fresh |= {step.unit for step in wanted if step.verb in ("start", "restart")}
    return steps
