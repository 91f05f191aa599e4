# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whether a container did anything between two samples: active, idle, or not known.

Rates are made of counters of two samples, so that what was done long ago counts for nothing. What can't be measured
(utilisation of a MIG instance on Ampere) is unknown, which is neither idle nor active.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .limits import LifecycleLimits


class Activity(str, Enum):
    """What an interval between two samples was."""

    ACTIVE = "active"
    IDLE = "idle"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Sample:
    """One look at a container. ``at`` is seconds since boot; counters count since the container's start; None is "not known".

    ``gpu_percent`` is the busiest of its devices; ``gpu_processes`` how many processes it has on them, 0 also for a container without a
    GPU; ``network_bytes`` received on all interfaces but lo; ``keep_alive_age`` how many seconds ago its owner touched the keep-alive file,
    None for none; ``keep_alive_known`` False: its filesystem did not answer.
    """

    at: float
    gpu_percent: float | None
    gpu_processes: int | None
    cpu_seconds: float | None
    network_bytes: int | None
    keep_alive_age: float | None = None
    keep_alive_known: bool = True


def _rate(before: float | None, after: float | None, seconds: float) -> float | None:
    if before is None or after is None or after < before:  # a counter that went back: the container was started anew
        return None
    return (after - before) / seconds


def _gpu(sample: Sample, threshold: float) -> Activity:
    """Without a process on its devices a container does not use them, whatever they show; with one, utilisation decides if known."""
    if sample.gpu_processes == 0:
        return Activity.IDLE
    if sample.gpu_percent is None:
        return Activity.UNKNOWN
    return Activity.ACTIVE if sample.gpu_percent >= threshold else Activity.IDLE


def interval(before: Sample, after: Sample, limits: LifecycleLimits) -> Activity:
    """What the time from ``before`` to ``after`` was. One active signal makes it active; it is idle if every signal is.

    Where none is active and one is unknown, ``limits.unknown_use`` decides: ``wait`` leaves it unknown, ``active`` counts it as use, and
    ``idle`` lets the known signals decide; where nothing at all is known it stays unknown.
    """
    seconds = after.at - before.at
    if seconds <= 0:
        return Activity.UNKNOWN
    if after.keep_alive_age is not None and (limits.keep_alive is None or after.keep_alive_age <= limits.keep_alive):
        return Activity.ACTIVE
    cpu = _rate(before.cpu_seconds, after.cpu_seconds, seconds)
    network = _rate(before.network_bytes, after.network_bytes, seconds)
    signals = [_gpu(after, limits.idle_gpu_percent)]
    if not after.keep_alive_known:
        signals.append(Activity.UNKNOWN)
    for rate, threshold in ((None if cpu is None else cpu * 100, limits.idle_cpu_percent), (network, float(limits.idle_network_bps))):
        signals.append(Activity.UNKNOWN if rate is None else Activity.ACTIVE if rate >= threshold else Activity.IDLE)
    if Activity.ACTIVE in signals:
        return Activity.ACTIVE
    if Activity.UNKNOWN not in signals:
        return Activity.IDLE
    if limits.unknown_use == "active":
        return Activity.ACTIVE
    return Activity.IDLE if limits.unknown_use == "idle" and Activity.IDLE in signals else Activity.UNKNOWN
