# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""When a container is warned, stopped or removed: pure decisions over its history, its limits and the clock.

Theory of operation. Every sweep calls ``observe`` with a new sample and then ``decide``, or ``rest`` and then ``decide_stopped``
(``lifecycle_history``). Idle time, runtime and the end of a drain are one rule each: so much is spent of a limit, and its owner is
warned a lead before. A container is idle when every interval of an unbroken span is; one active interval ends the span. The span is at
least ``idle_window`` (an idle limit below it counts as the window).

Every warning is a promise of a moment before which nothing happens. A stop needs one whose moment has come, whatever became of limits
and leads in between: a late warning postpones the stop, and a limit that was made shorter does not break a promise that was given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .activity import Activity
from .lifecycle_history import History, Promise
from .lifecycle_reason import Reason
from .limits import LifecycleLimits

DRAIN_MARGIN_S = 120.0
"""How much sooner than its lead the end of a drain is told of, so that sweeps between the two don't carry it past its deadline."""


@dataclass(frozen=True)
class Leads:
    """How long before a stop its owner is warned, in seconds."""

    idle: float
    runtime: float


@dataclass(frozen=True)
class Drain:
    """Everything that runs is to be stopped at ``at`` (seconds since boot), with ``lead`` seconds of warning."""

    at: float
    lead: float


@dataclass(frozen=True)
class Warn:
    """Tell the owner that the container will be stopped in ``in_s`` seconds unless ``reason`` ceases; the numbers of ``Stop``."""

    reason: Reason
    in_s: float
    after_s: float
    limit_s: float


@dataclass(frozen=True)
class Withdraw:
    """Tell the owner that the announced stop is off."""

    reason: Reason


@dataclass(frozen=True)
class Puzzled:
    """Say that for ``for_s`` seconds it has not been known whether the container is used, so that its idle clock stands still."""

    for_s: float


@dataclass(frozen=True)
class Stop:
    """Stop the container with the grace of its limits; ``after_s`` is the time that reached the limit ``limit_s``."""

    reason: Reason
    after_s: float
    limit_s: float


@dataclass(frozen=True)
class Remove:
    """Remove a container that does not run; the same numbers."""

    reason: Reason
    after_s: float
    limit_s: float


Action = Warn | Withdraw | Puzzled | Stop | Remove


@dataclass(frozen=True)
class _Rule:
    """``spent`` of ``limit`` seconds; the owner is warned when ``lead`` (and ``margin``) are left. ``limit`` None: the rule is lifted."""

    reason: Reason
    spent: float
    limit: float | None
    lead: float
    margin: float = 0.0

    @property
    def left(self) -> float:
        """Seconds until the limit; without a limit for ever."""
        return float("inf") if self.limit is None else self.limit - self.spent

    @property
    def near(self) -> bool:
        """Whether it is time to warn."""
        return self.left <= self.lead + self.margin


def _lead(promised: float, limit: float | None) -> float:
    """The lead that fits a limit: at most half of it, so that a short limit is not warned about from the start."""
    return promised if limit is None else min(promised, limit / 2)


def _rules(history: History, limits: LifecycleLimits, leads: Leads, drain: Drain | None, now: float) -> list[_Rule]:
    idle = None if limits.idle is None else float(max(limits.idle, limits.idle_window))
    runtime = None if limits.runtime is None else float(limits.runtime)
    run = history.since_start_s if limits.runtime_counts == "start" else history.run_s
    rules = [
        _Rule(Reason.IDLE, history.idle_s, idle, _lead(leads.idle, idle)),
        _Rule(Reason.RUNTIME, run, runtime, _lead(leads.runtime, runtime)),
    ]
    if drain is None:
        return [*rules, _Rule(Reason.MAINTENANCE, 0.0, None, 0.0)]
    return [*rules, _Rule(Reason.MAINTENANCE, drain.lead - (drain.at - now), drain.lead, drain.lead, DRAIN_MARGIN_S)]


def decide(history: History, limits: LifecycleLimits, leads: Leads, now: float, drain: Drain | None = None) -> tuple[list[Action], History]:
    """What to do with a running container at ``now`` (seconds since boot), and the history in which that is noted."""
    actions: list[Action] = []
    before, warned = history, dict(history.warned)
    puzzled = limits.idle is not None and history.unknown_s >= limits.idle_window and not history.unknown_told and history.unknown_s > 0
    if puzzled:
        actions.append(Puzzled(history.unknown_s))
    history = replace(history, unknown_told=history.unknown_told or puzzled)
    for rule in _rules(history, limits, leads, drain, now):
        if rule.limit is None or not rule.near:
            if warned.pop(rule.reason, None) is not None:
                actions.append(Withdraw(rule.reason))
        elif rule.reason not in warned:
            in_s = max(rule.lead, rule.left)
            warned[rule.reason] = Promise(now, now + in_s)
            actions.append(Warn(rule.reason, in_s, rule.spent, rule.limit))
        elif rule.reason is Reason.IDLE and history.last_activity is not Activity.IDLE:
            continue  # not known to be idle now
        elif rule.left <= 0 and now >= warned[rule.reason].until:
            # Nothing else is said now, so nothing else may be remembered as said: the stop may fail.
            return [Stop(rule.reason, rule.spent, rule.limit)], before
    return actions, replace(history, warned=warned)


def decide_stopped(limits: LifecycleLimits, *, started: bool, age_s: float, keep: bool) -> list[Action]:
    """What to do with a container that does not run. ``age_s``: since its creation if it never ``started``, else since it ended."""
    reason, limit = (Reason.STOPPED, limits.container_hold) if started else (Reason.NEVER_STARTED, limits.created_hold)
    if keep or limit is None or age_s < limit:
        return []
    return [Remove(reason, age_s, float(limit))]


@dataclass(frozen=True)
class Prospect:
    """A limit ahead: ``spent_s`` of ``limit_s`` are over, and nothing happens before ``due_s`` more seconds, a promised warning included.

    ``warned``: the warning was given. ``paused``: the clock stands still, because what the container does is not known or it is active.
    """

    reason: Reason
    spent_s: float
    limit_s: float
    due_s: float
    warned: bool
    paused: bool


def outlook(history: History, limits: LifecycleLimits, leads: Leads, now: float, drain: Drain | None = None) -> list[Prospect]:
    """For people: each limit that applies to a running container, the nearest first."""
    found = []
    for rule in _rules(history, limits, leads, drain, now):
        if rule.limit is None:
            continue
        idle = rule.reason is Reason.IDLE
        promise = history.warned.get(rule.reason)
        left = max(0.0, rule.left)
        if idle and not history.idle_s:
            left += max(0.0, limits.start_grace - history.since_start_s)
        due = max(left, rule.lead if promise is None else promise.until - now)
        paused = idle and history.last_activity is not Activity.IDLE
        found.append(Prospect(rule.reason, max(0.0, rule.spent), rule.limit, due, promise is not None, paused))
    return sorted(found, key=lambda one: (one.paused, one.due_s))
