# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What one person may use: the result of resolving the policy for them.

Bytes, seconds and CPUs throughout; ``None`` means without limit. ``policy_resolve.resolve`` makes these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True)
class GpuLimits:
    """GPU-equivalents in total (1 = one full GPU), devices in one container, and which devices are eligible.

    ``hours_per_week``: GPU-equivalent-hours in seven days, of which the person is told and no more.
    """

    equivalents: Fraction | None
    devices_per_container: int
    full_gpu: bool
    by_uuid: bool
    profiles: tuple[str, ...] | None
    pools: tuple[str, ...]
    hours_per_week: float | None = None


@dataclass(frozen=True)
class ContainerLimits:
    """Upper bounds for one container; also its defaults where the request names none. ``count``: how many at once.

    ``disk``: bytes of its writable layer. ``volume``: bytes of a volume that is made for it.
    """

    count: int | None
    cpus: float
    memory: int
    shm: int
    pids: int
    disk: int | None = None
    volume: int | None = None


@dataclass(frozen=True)
class AggregateLimits:
    """Limits of the person's slice, enforced by the kernel over all their containers together; and of what they keep.

    ``volumes``: how many; ``images``: bytes of those they made. The gate holds people to these two.
    """

    cpus: float | None
    memory_high: int | None
    memory_max: int | None
    tasks: int | None
    io_weight: int
    io_read_bps: int | None
    io_write_bps: int | None
    disk: int | None
    volumes: int | None = None
    images: int | None = None


@dataclass(frozen=True)
class LifecycleLimits:
    """Durations in seconds; ``None`` means never (or for ever). ``gpu_hold``: how long a stopped container keeps its GPU.

    ``start_grace``: time after the start in which a container is never idle. ``idle_window``: the span over which use is averaged.
    ``idle_network_bps``: bytes a second received. ``keep_alive``: how long a request to be kept alive holds the idle stop off.
    ``runtime_counts``: life or start. ``idle_halves_at``: people waiting for GPUs from which on ``idle`` is halved where a GPU is held;
    None: never. ``unknown_use``: wait, idle or active, see ``activity.interval``.
    """

    idle: int | None
    runtime: int | None
    gpu_hold: int
    container_hold: int | None
    created_hold: int | None
    stop_grace: int
    idle_cpu_percent: float
    start_grace: int = 1800
    idle_window: int = 900
    idle_gpu_percent: float = 5.0
    idle_network_bps: int = 10240
    keep_alive: int | None = 86400
    runtime_counts: str = "life"
    idle_halves_at: int | None = None
    unknown_use: str = "wait"


@dataclass(frozen=True)
class BindRoot:
    """A directory below which the person may bind mount. ``writable`` False forces read-only."""

    path: str
    writable: bool


@dataclass(frozen=True)
class Limits:
    """Everything the policy says about one person, and in ``sources`` which rule set each value (dotted key → rule).

    ``kind`` is the kind of container for which it was resolved, None for the person alone. ``expires`` is when the earliest
    exemption that is part of it ends (seconds since the epoch, UTC), after which it must be resolved again; None for never.
    """

    user: str
    group: str
    priority: int
    admin: bool
    bare_metal: bool
    gpu: GpuLimits
    container: ContainerLimits
    aggregate: AggregateLimits
    lifecycle: LifecycleLimits
    bind_roots: tuple[BindRoot, ...]
    sources: dict[str, str] = field(default_factory=dict, compare=False)
    kind: str | None = None
    expires: float | None = None
