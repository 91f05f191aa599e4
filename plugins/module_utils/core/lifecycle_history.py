# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What is remembered of a container between sweeps, and how a new sample changes it. Pure.

How long it has been idle without a break (``idle_s``), how long it has run in its life (``run_s``, restarts do not reset it) and since its
start, how long it has not run (``still_s``), and what its owner was promised when. All times are seconds since boot, so that a step of the
wall clock, a time zone or daylight saving means nothing here. Time that was not sampled (the sweep was away) counts as running, and as
idle at most ``MAX_GAP_S``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .activity import Activity, Sample, interval
from .lifecycle_reason import Reason
from .limits import LifecycleLimits

MAX_GAP_S = 180.0
"""The longest time between two samples that may count as idle: three missed sweeps of a minute."""


@dataclass(frozen=True)
class Promise:
    """A warning that was given ``at`` and said that nothing happens before ``until``; seconds since boot."""

    at: float
    until: float


@dataclass(frozen=True)
class Asked:
    """A stop that dockerd was asked for at ``at`` (seconds since boot) and has not confirmed yet; the numbers of ``Stop``."""

    reason: Reason
    after_s: float
    limit_s: float
    at: float


@dataclass(frozen=True)
class History:
    """What is remembered. ``warned``: by reason, what its owner was promised.

    ``unknown_s``: for how long without a break it is not known whether it is used; ``unknown_told``: that was said. ``still_at`` is when
    it was last seen not running, None while it runs; ``run`` names the present start (restarts change it).
    """

    last: Sample | None = None
    last_activity: Activity = Activity.UNKNOWN
    idle_s: float = 0.0
    run_s: float = 0.0
    since_start_s: float = 0.0
    warned: dict[Reason, Promise] = field(default_factory=dict)
    still_s: float = 0.0
    still_at: float | None = None
    run: str = ""
    asked: Asked | None = None
    unknown_s: float = 0.0
    unknown_told: bool = False


def observe(history: History, sample: Sample, limits: LifecycleLimits, *, run: str = "", up_s: float = 0.0) -> History:
    """The history after one more sample of a running container.

    ``run`` names the container's present start, another one means that it was started since the last sample; ``up_s`` is how long ago
    that start was, in seconds. Of the time before a restart at most ``MAX_GAP_S`` counts as running: it may have stood still.
    """
    if history.last is None or run != history.run:
        unseen = 0.0 if history.last is None else min(max(0.0, sample.at - history.last.at - up_s), MAX_GAP_S)
        anew = {Reason.IDLE, Reason.RUNTIME} if limits.runtime_counts == "start" else {Reason.IDLE}
        counted = history.since_start_s if history.last is None and run and run == history.run else 0.0  # the last sample was lost
        return History(
            last=sample,
            run_s=history.run_s + max(0.0, up_s - counted) + unseen,
            since_start_s=up_s,
            warned={reason: promise for reason, promise in history.warned.items() if reason not in anew},
            run=run,
        )
    seconds = max(0.0, sample.at - history.last.at)
    activity = interval(history.last, sample, limits)
    idle = history.idle_s
    if activity is Activity.ACTIVE:
        idle = 0.0
    elif activity is Activity.IDLE and history.since_start_s >= limits.start_grace:
        idle += min(seconds, MAX_GAP_S)
    unknown = history.unknown_s + seconds if activity is Activity.UNKNOWN else 0.0
    return replace(
        history,
        last=sample,
        last_activity=activity,
        idle_s=idle,
        run_s=history.run_s + seconds,
        since_start_s=history.since_start_s + seconds,
        unknown_s=unknown,
        unknown_told=history.unknown_told and unknown > 0,
    )


def rest(history: History, at: float) -> History:
    """The history after a container was seen not running at ``at``. What passed before it was first seen so does not count."""
    still = history.still_s + (0.0 if history.still_at is None else max(0.0, at - history.still_at))
    return History(run_s=history.run_s, still_s=still, still_at=at)
