# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""When a container is warned, stopped or removed: pure decisions over samples, limits and the clock.

Theory of operation. Each container has a ``History``: how long it has been idle without a break (``idle_s``), how long it has run in its
life (``run_s``, restarts do not reset it), how long it has not run (``still_s``), and when its owner was last warned for each reason. Every
sweep calls ``observe`` with a new sample and then ``decide``, or ``rest`` and then ``decide_stopped``. All times are seconds since boot, so
that a step of the wall clock, a time zone or daylight saving means nothing here.

A container is idle when every interval of an unbroken span is; one active interval ends the span. The span is at least ``idle_window``
(an idle limit below it counts as the window). Time that was not sampled (the sweep was away) counts as running, and as idle at most
``MAX_GAP_S``. A stop needs a warning that was given at least the promised lead before, in real time: a late warning postpones the stop.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .activity import Activity, Sample, interval
from .lifecycle_reason import Reason
from .limits import LifecycleLimits

__all__ = ["Action", "Asked", "History", "Leads", "Prospect", "Reason", "Remove", "Stop", "Warn", "Withdraw"]

MAX_GAP_S = 180.0
"""The longest time between two samples that may count as idle: three missed sweeps of a minute."""


@dataclass(frozen=True)
class Leads:
    """How long before a stop its owner is warned, in seconds."""

    idle: float
    runtime: float

    def of(self, reason: Reason) -> float:
        """The lead that was promised for a reason."""
        return self.idle if reason is Reason.IDLE else self.runtime


@dataclass(frozen=True)
class Asked:
    """A stop that dockerd was asked for at ``at`` (seconds since boot) and has not confirmed yet; the numbers of ``Stop``."""

    reason: Reason
    after_s: float
    limit_s: float
    at: float


@dataclass(frozen=True)
class History:
    """What is remembered of a container between sweeps. ``warned`` maps a reason to the time of its warning, in seconds since boot.

    ``still_at`` is when it was last seen not running, None while it runs; ``run`` names the present start (restarts change it).
    """

    last: Sample | None = None
    last_activity: Activity = Activity.UNKNOWN
    idle_s: float = 0.0
    run_s: float = 0.0
    since_start_s: float = 0.0
    warned: dict[Reason, float] = field(default_factory=dict)
    still_s: float = 0.0
    still_at: float | None = None
    run: str = ""
    asked: Asked | None = None


@dataclass(frozen=True)
class Warn:
    """Tell the owner that the container will be stopped in ``in_s`` seconds unless ``reason`` ceases."""

    reason: Reason
    in_s: float


@dataclass(frozen=True)
class Withdraw:
    """Tell the owner that the announced stop is off."""

    reason: Reason


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


Action = Warn | Withdraw | Stop | Remove


def observe(history: History, sample: Sample, limits: LifecycleLimits, *, run: str = "", up_s: float = 0.0) -> History:
    """The history after one more sample of a running container.

    ``run`` names the container's present start, another one means that it was started since the last sample; ``up_s`` is how long ago
    that start was, in seconds. Of the time before a restart at most ``MAX_GAP_S`` counts as running: it may have stood still.
    """
    if history.last is None or run != history.run:
        unseen = 0.0 if history.last is None else min(max(0.0, sample.at - history.last.at - up_s), MAX_GAP_S)
        counted = history.since_start_s if history.last is None and run and run == history.run else 0.0  # the last sample was lost
        return replace(
            history,
            last=sample,
            last_activity=Activity.UNKNOWN,
            idle_s=0.0,
            run_s=history.run_s + max(0.0, up_s - counted) + unseen,
            since_start_s=up_s,
            warned=_without_idle(history),
            still_s=0.0,
            still_at=None,
            run=run,
            asked=None,
        )
    seconds = max(0.0, sample.at - history.last.at)
    activity = interval(history.last, sample, limits)
    idle = history.idle_s
    if activity is Activity.ACTIVE:
        idle = 0.0
    elif activity is Activity.IDLE and history.since_start_s >= limits.start_grace:
        idle += min(seconds, MAX_GAP_S)
    return replace(
        history,
        last=sample,
        last_activity=activity,
        idle_s=idle,
        run_s=history.run_s + seconds,
        since_start_s=history.since_start_s + seconds,
    )


def rest(history: History, at: float) -> History:
    """The history after a container was seen not running at ``at``. What passed before it was first seen so does not count."""
    still = history.still_s + (0.0 if history.still_at is None else max(0.0, at - history.still_at))
    return History(run_s=history.run_s, still_s=still, still_at=at)


def _without_idle(history: History) -> dict[Reason, float]:
    return {reason: at for reason, at in history.warned.items() if reason is not Reason.IDLE}


def _lead(promised: float, limit: float) -> float:
    """The lead that fits a limit: at most half of it, so that a short limit is not warned about from the start."""
    return min(promised, limit / 2)


def _idle_limit(limits: LifecycleLimits) -> float | None:
    """The idle limit that holds: nothing is called idle before the window is over."""
    return None if limits.idle is None else float(max(limits.idle, limits.idle_window))


def decide(history: History, limits: LifecycleLimits, leads: Leads, now: float) -> tuple[list[Action], History]:
    """What to do with a running container at ``now`` (seconds since boot), and the history in which that is noted."""
    actions: list[Action] = []
    warned = dict(history.warned)
    for reason, spent, limit in ((Reason.IDLE, history.idle_s, _idle_limit(limits)), (Reason.RUNTIME, history.run_s, limits.runtime)):
        if limit is None or spent < limit - _lead(leads.of(reason), limit):
            if warned.pop(reason, None) is not None:
                actions.append(Withdraw(reason))
            continue
        lead = _lead(leads.of(reason), limit)
        if reason not in warned:
            warned[reason] = now
            actions.append(Warn(reason, max(lead, limit - spent)))
        elif reason is Reason.IDLE and history.last_activity is not Activity.IDLE:
            continue  # not known to be idle now
        elif spent >= limit and now - warned[reason] >= lead:
            return [Stop(reason, spent, float(limit))], replace(history, warned=warned)
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


def outlook(history: History, limits: LifecycleLimits, leads: Leads, now: float) -> list[Prospect]:
    """For people: each limit that applies to a running container, the nearest first."""
    found = []
    for reason, spent, limit in ((Reason.IDLE, history.idle_s, _idle_limit(limits)), (Reason.RUNTIME, history.run_s, limits.runtime)):
        if limit is None:
            continue
        lead = _lead(leads.of(reason), limit)
        at = history.warned.get(reason)
        left = max(0.0, limit - spent)
        if reason is Reason.IDLE and not history.idle_s:
            left += max(0.0, limits.start_grace - history.since_start_s)
        due = max(left, lead if at is None else at + lead - now)
        paused = reason is Reason.IDLE and history.last_activity is not Activity.IDLE
        found.append(Prospect(reason, spent, float(limit), max(0.0, due), at is not None, paused))
    return sorted(found, key=lambda one: (one.paused, one.due_s))
