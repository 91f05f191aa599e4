# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Metrics of people: what the kernel says of each one's slice, what they hold of the GPUs and may hold, and who waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ds01.cgroup_fs import CgroupFs
from ds01.cgroup_usage import read_usage
from ds01.core.claim import Claim
from ds01.core.gpu_queue import Waiter
from ds01.core.slice_names import user_slice

from .allowances import Allowance

_USAGE: dict[str, tuple[type[CounterMetricFamily] | type[GaugeMetricFamily], str, str]] = {
    "cpu_seconds": (CounterMetricFamily, "ds01_user_cpu_seconds", "CPU time of a person's slice"),
    "memory": (GaugeMetricFamily, "ds01_user_memory_bytes", "Memory of a person's slice"),
    "tasks": (GaugeMetricFamily, "ds01_user_tasks", "Processes and threads in a person's slice"),
    "oom_kills": (CounterMetricFamily, "ds01_user_oom_kills", "Processes killed for want of memory in a person's slice"),
    "read_bytes": (CounterMetricFamily, "ds01_user_io_read_bytes", "Bytes read from disks by a person's slice"),
    "written_bytes": (CounterMetricFamily, "ds01_user_io_written_bytes", "Bytes written to disks by a person's slice"),
}


class PeopleCollector(Collector):
    """``waiters`` gives the queue, None where it can't be read; ``clock`` seconds since the epoch."""

    def __init__(
        self,
        cgroups: CgroupFs,
        claims: Callable[[], tuple[Claim, ...]],
        allowances: Callable[[], tuple[Allowance, ...]],
        waiters: Callable[[], tuple[Waiter, ...] | None],
        clock: Callable[[], float],
    ) -> None:
        self._cgroups = cgroups
        self._claims = claims
        self._allowances = allowances
        self._waiters = waiters
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """All metric families of one scrape."""
        yield from self._kernel()
        yield from self._gpus()
        yield from self._queue()

    def _kernel(self) -> Iterator[Metric]:
        families = {name: family(metric, text, labels=["uid"]) for name, (family, metric, text) in _USAGE.items()}
        pressure = CounterMetricFamily(
            "ds01_user_pressure_seconds", "Time in which tasks of a person's slice waited", labels=["uid", "resource", "share"]
        )
        for uid in self._cgroups.user_slices():
            found = read_usage(Path(self._cgroups.path(user_slice(uid))))
            for name, family in families.items():
                value = getattr(found, name)
                if value is not None:
                    family.add_metric([str(uid)], value)
            for resource, waited in found.pressure.items():
                pressure.add_metric([str(uid), resource, "some"], waited.some)
                if waited.full is not None:
                    pressure.add_metric([str(uid), resource, "full"], waited.full)
        yield from families.values()
        yield pressure

    def _gpus(self) -> Iterator[Metric]:
        who = GaugeMetricFamily(
            "ds01_user_info", "People that are seen here, and their group in the policy", labels=["uid", "user", "group"]
        )
        used = GaugeMetricFamily("ds01_user_gpu_equivalents", "GPU-equivalents that a person's claims hold", labels=["user"])
        allowed = GaugeMetricFamily(
            "ds01_user_gpu_equivalents_allowed", "GPU-equivalents that policy allows a person; absent without limit", labels=["user"]
        )
        known = self._allowances()
        holds: dict[str, Fraction] = {one.user: Fraction(0) for one in known}
        for claim in self._claims():
            holds[claim.user] = holds.get(claim.user, Fraction(0)) + claim.equivalents
        for one in known:
            who.add_metric([str(one.uid), one.user, one.group], 1)
            if one.equivalents is not None:
                allowed.add_metric([one.user], one.equivalents)
        for user, equivalents in sorted(holds.items()):
            used.add_metric([user], float(equivalents))
        yield who
        yield used
        yield allowed

    def _queue(self) -> Iterator[Metric]:
        waiters = self._waiters()
        if waiters is None:
            return
        waiting = GaugeMetricFamily("ds01_queue_waiting", "Requests for GPUs that wait, by person", labels=["user"])
        for user in sorted({one.user for one in waiters}):
            waiting.add_metric([user], sum(one.user == user for one in waiters))
        yield GaugeMetricFamily("ds01_queue_length", "Requests for GPUs that wait", value=len(waiters))
        yield waiting
        longest = max((self._clock() - one.joined_at for one in waiters), default=0.0)
        yield GaugeMetricFamily("ds01_queue_longest_wait_seconds", "How long the first in the queue has waited", value=max(longest, 0.0))
