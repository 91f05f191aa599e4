# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The metrics, made at each scrape from what the watcher already knows: no call to dockerd, none to NVML.

Names and base units follow Prometheus' conventions. What is not known is absent. Labels are bounded: users and claims that exist, GPUs of
the host, kinds from a fixed list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ds01.core.workload_kind import Kind

from .picture import Picture

_THERMAL = 0x20 | 0x40
"""nvmlClocksEventReasonSwThermalSlowdown and nvmlClocksThrottleReasonHwThermalSlowdown (nvml.h)."""
_REASONS = {
    "gpu_idle": 0x1,
    "applications_clocks": 0x2,
    "sw_power_cap": 0x4,
    "hw_slowdown": 0x8,
    "sync_boost": 0x10,
    "sw_thermal": 0x20,
    "hw_thermal": 0x40,
    "hw_power_brake": 0x80,
    "display_clocks": 0x100,
}
"""nvmlClocksEventReasons of nvml.h; what lowers a GPU's clocks just now."""
_MOST_PEOPLE = 1000
"""Names of people in labels; a host has fewer, and one with more sums up the rest as "other"."""
_MOST_XIDS = 64

_SENSOR_GAUGES = {
    "utilisation": ("ds01_gpu_utilization_ratio", "Share of time in which the GPU computed; absent under MIG", 0.01),
    "memory_used": ("ds01_gpu_memory_used_bytes", "Memory of the GPU in use", 1.0),
    "memory_total": ("ds01_gpu_memory_bytes", "Memory of the GPU", 1.0),
    "power": ("ds01_gpu_power_watts", "Power drawn by the GPU", 1.0),
    "temperature": ("ds01_gpu_temperature_celsius", "Temperature of the GPU", 1.0),
    "throttle": ("ds01_gpu_clocks_event_reasons", "NVML's bitmask of reasons why clocks are lowered", 1.0),
    "remap_pending": ("ds01_gpu_row_remap_pending", "1 when rows are remapped at the next reset", 1.0),
    "remap_failed": ("ds01_gpu_row_remap_failed", "1 when a row could not be remapped: the GPU is to be replaced", 1.0),
}
_SENSOR_COUNTERS = {
    "energy": ("ds01_gpu_energy_joules", "Energy since the driver was loaded", 1.0),
    "ecc_corrected": ("ds01_gpu_ecc_corrected_errors", "Corrected ECC errors since boot", 1.0),
    "ecc_uncorrected": ("ds01_gpu_ecc_uncorrected_errors", "Uncorrected ECC errors since boot", 1.0),
    "remapped_corrected": ("ds01_gpu_remapped_rows_corrected", "Rows remapped for corrected errors", 1.0),
    "remapped_uncorrected": ("ds01_gpu_remapped_rows_uncorrected", "Rows remapped for uncorrected errors", 1.0),
}


class WatchCollector(Collector):
    """``picture`` gives the present picture; ``release`` is the version that runs."""

    def __init__(self, picture: Callable[[], Picture], release: str) -> None:
        self._picture = picture
        self._release = release

    def collect(self) -> Iterable[Metric]:
        """All metric families of one scrape."""
        picture = self._picture()
        yield InfoMetricFamily("ds01_build", "What runs", {"release": self._release, "simulated": str(picture.inventory.simulated).lower()})
        yield from _workloads(picture)
        yield from _claims(picture)
        yield from _gpus(picture)
        yield from _sources(picture)


def _workloads(picture: Picture) -> Iterator[Metric]:
    count = GaugeMetricFamily("ds01_workloads", "GPU workloads by kind and person", labels=["kind", "user"])
    host = GaugeMetricFamily("ds01_host_gpu_usage_bytes", "GPU memory of processes outside containers", labels=["user"])
    counts: Counter[tuple[str, str]] = Counter()
    bytes_by_user: Counter[str] = Counter()
    untracked = 0
    people: set[str] = set()
    for one in picture.workloads:
        user = one.owner.user or "unattributed"
        people.add(user)
        if len(people) > _MOST_PEOPLE:
            people.discard(user)
            user = "other"
        counts[one.kind.value, user] += 1
        if one.kind is Kind.HOST:
            bytes_by_user[user] += one.memory or 0
        if not one.kind.tracked:
            untracked += len({process.pid for process in one.processes})
    for (kind, user), number in sorted(counts.items()):
        count.add_metric([kind, user], number)
    for user, size in sorted(bytes_by_user.items()):
        host.add_metric([user], size)
    yield count
    yield host
    yield GaugeMetricFamily("ds01_untracked_gpu_processes", "Processes on GPUs that the platform did not put there", value=untracked)
    running = sum(1 for facts in picture.containers if facts.running)
    containers = GaugeMetricFamily("ds01_containers", "Containers by state", labels=["state"])
    containers.add_metric(["running"], running)
    containers.add_metric(["stopped"], len(picture.containers) - running)
    yield containers


def _claims(picture: Picture) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "ds01_claim_gpu_equivalents", "GPU-equivalents held by a claim on a GPU", labels=["user", "claim", "gpu_uuid", "profile", "state"]
    )
    for claim in picture.claims:
        state = "running" if claim.held_until is None else "held"
        for device in claim.devices:
            family.add_metric([claim.user, claim.id, device.gpu_uuid, device.profile or "full", state], float(device.equivalents))
    yield family
    running = {facts.id for facts in picture.containers if facts.running}
    adrift = sum(1 for claim in picture.claims if claim.held_until is None and claim.container_id not in running)
    if picture.docker_away is None:
        yield GaugeMetricFamily("ds01_claims_without_container", "Claims that are not held and whose container does not run", value=adrift)


def _gpus(picture: Picture) -> Iterator[Metric]:
    info = GaugeMetricFamily("ds01_gpu_info", "The GPUs of the host", labels=["gpu_uuid", "gpu", "model", "mig"])
    instances = GaugeMetricFamily("ds01_mig_instances", "MIG instances by profile", labels=["gpu_uuid", "profile"])
    healthy = GaugeMetricFamily("ds01_gpu_healthy", "1 when the GPU answers", labels=["gpu_uuid"])
    for gpu in picture.inventory.gpus:
        info.add_metric([gpu.uuid, str(gpu.index), gpu.model, str(gpu.mig_enabled).lower()], 1)
        healthy.add_metric([gpu.uuid], float(gpu.healthy and gpu.uuid in picture.sensors))
        for profile, number in sorted(Counter(instance.profile for instance in gpu.instances).items()):
            instances.add_metric([gpu.uuid, profile], number)
    throttled = GaugeMetricFamily("ds01_gpu_thermally_throttled", "1 while heat lowers the clocks", labels=["gpu_uuid"])
    reasons = GaugeMetricFamily("ds01_gpu_clocks_lowered", "1 while this reason lowers the GPU's clocks", labels=["gpu_uuid", "reason"])
    xids = CounterMetricFamily("ds01_gpu_xid_errors", "XID errors since the watcher listens", labels=["gpu_uuid"])
    by_code = CounterMetricFamily(
        "ds01_gpu_xid_errors_by_code", "XID errors since the watcher listens, by number", labels=["gpu_uuid", "xid"]
    )
    for uuid, sensors in sorted(picture.sensors.items()):
        if sensors.get("throttle") is not None:
            mask = int(sensors["throttle"])
            throttled.add_metric([uuid], float(bool(mask & _THERMAL)))
            for reason, bit in _REASONS.items():
                reasons.add_metric([uuid, reason], float(bool(mask & bit)))
        for code, count in sorted(picture.xids.get(uuid, {}).items())[:_MOST_XIDS]:
            by_code.add_metric([uuid, code], count)
        xids.add_metric([uuid], sum(picture.xids.get(uuid, {}).values()))  # from 0 on, so that the first one is an increase
    yield info
    yield throttled
    yield reasons
    yield xids
    yield by_code
    yield healthy
    yield instances
    for table, family_type in ((_SENSOR_GAUGES, GaugeMetricFamily), (_SENSOR_COUNTERS, CounterMetricFamily)):
        for key, (name, text, factor) in table.items():
            family = family_type(name, text, labels=["gpu_uuid"])
            for uuid, sensors in sorted(picture.sensors.items()):
                if sensors.get(key) is not None:
                    family.add_metric([uuid], float(sensors[key]) * factor)
            yield family


def _sources(picture: Picture) -> Iterator[Metric]:
    up = GaugeMetricFamily("ds01_source_up", "1 when the watcher's source answers", labels=["source"])
    for source, state in picture.sources().items():
        up.add_metric([source], float(bool(state["ok"])))
    yield up
    if picture.gpu_age is not None:
        yield GaugeMetricFamily("ds01_gpu_look_age_seconds", "Age of NVML's last word", value=picture.gpu_age)
