# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""One sweep as a pure function: what was seen of every container and what is remembered → what to do, and what to remember.

A stop that dockerd was asked for is remembered until the container is seen not to run any more, also by a later run of the program; if it
still runs a minute after its grace, the stop has failed, which is said, and it is judged and asked for again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from .activity import Sample
from .lifecycle import Action, Drain, Leads, Stop, decide, decide_stopped
from .lifecycle_history import Asked, History, observe, rest
from .lifecycle_reason import Reason
from .lifecycle_subject import Subject
from .limits import LifecycleLimits

OVERDUE_S = 60.0
_RUNNING = frozenset({"running", "paused", "restarting"})


@dataclass(frozen=True)
class Seen:
    """A container at one moment. ``state`` is Docker's word. ``sample`` None: it runs and could not be sampled, or it does not run.

    ``run`` and ``up_s`` as in ``lifecycle_history.observe``; ``exempt`` are the rules that an exemption lifts, in words. ``waits``: its
    start waits in the queue for a GPU (or nobody knows whether), so that it is not one that was never started.
    """

    id: str
    name: str
    state: str
    subject: Subject
    limits: LifecycleLimits
    sample: Sample | None = None
    run: str = ""
    up_s: float = 0.0
    exempt: tuple[str, ...] = ()
    waits: bool = False

    @property
    def running(self) -> bool:
        """Whether it has processes, or will have again in a moment."""
        return self.state in _RUNNING


@dataclass(frozen=True)
class Stopped:
    """A stop that was asked for has come about."""

    reason: Reason
    after_s: float
    limit_s: float


@dataclass(frozen=True)
class Overdue:
    """A stop that was asked for has not come about in time."""

    reason: Reason
    after_s: float
    limit_s: float


@dataclass(frozen=True)
class Step:
    """Something to do about a container; ``history`` is what led to it."""

    seen: Seen
    action: Action | Stopped | Overdue
    history: History


@dataclass(frozen=True)
class Plan:
    """The steps, and what to remember when they are done, by container id."""

    steps: tuple[Step, ...]
    histories: Mapping[str, History]


def plan(
    seen: Iterable[Seen],
    histories: Mapping[str, History],
    leads: Leads,
    at: float,
    drain: Drain | None = None,
    unseen: Iterable[str] = (),
) -> Plan:
    """The sweep at ``at`` (seconds since boot). What is remembered of containers that are gone is forgotten.

    ``unseen``: containers that are there and could not be looked at; nothing is done to them, and nothing forgotten.
    """
    steps: list[Step] = []
    kept = {key: histories[key] for key in unseen if key in histories}
    for one in seen:
        if one.subject.protected:
            continue
        history = histories.get(one.id, History())
        if one.state == "removing":
            kept[one.id] = history
            continue
        actions, after = _running(one, history, leads, at, drain) if one.running else _still(one, history, at)
        steps += [Step(one, action, after) for action in actions]
        kept[one.id] = after
    return Plan(tuple(steps), kept)


def _running(one: Seen, history: History, leads: Leads, at: float, drain: Drain | None) -> tuple[list[Action | Stopped | Overdue], History]:
    said: list[Action | Stopped | Overdue] = []
    asked = history.asked
    if one.sample is None:
        history = observe(history, Sample(at, None, None, None, None), one.limits, run=history.run)
    else:
        history = observe(history, one.sample, one.limits, run=one.run, up_s=one.up_s)
    if asked is not None:
        if history.asked is None:  # it stopped, and somebody has started it again
            said.append(Stopped(asked.reason, asked.after_s, asked.limit_s))
        elif at - asked.at < one.limits.stop_grace + OVERDUE_S:
            return [], history
        else:
            said.append(Overdue(asked.reason, asked.after_s, asked.limit_s))
            history = replace(history, asked=None)
    actions, history = decide(history, one.limits, leads, at, drain)
    for action in actions:
        if isinstance(action, Stop):
            history = replace(history, asked=Asked(action.reason, action.after_s, action.limit_s, at))
    return [*said, *actions], history


def _still(one: Seen, history: History, at: float) -> tuple[list[Action | Stopped | Overdue], History]:
    said: list[Action | Stopped | Overdue] = []
    if history.asked is not None:
        said.append(Stopped(history.asked.reason, history.asked.after_s, history.asked.limit_s))
    history = rest(history, at)
    if one.waits and one.state == "created":
        return said, replace(history, still_s=0.0)
    started = one.state != "created"
    return [*said, *decide_stopped(one.limits, started=started, age_s=history.still_s, keep=one.subject.keep)], history


def confirmed(history: History) -> History:
    """What to remember once dockerd has said that the stop is done."""
    return replace(history, asked=None)
