# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Limits of a slice in the three languages that speak of them: unit files, D-Bus properties, and the kernel's files.

systemd.resource-control(5) and the kernel's Documentation/admin-guide/cgroup-v2.rst are the sources of names and units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .limits import AggregateLimits

INFINITY = 2**64 - 1
"""systemd's value of ``infinity``."""

_PERIOD_US = 100_000

Property = tuple[str, str, object]
"""Name, D-Bus signature, value."""


@dataclass(frozen=True)
class SliceLimits:
    """Bytes, CPUs, bytes a second; None is without limit. ``io_paths``: whose block devices the bandwidths hold for."""

    cpus: float | None = None
    memory_high: int | None = None
    memory_max: int | None = None
    tasks: int | None = None
    io_weight: int = 100
    io_read_bps: int | None = None
    io_write_bps: int | None = None
    io_paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """One of the kernel's files that does not say what was asked."""

    file: str
    is_now: str
    should_be: str

    def __str__(self) -> str:
        return f"{self.file} is {self.is_now!r}, should be {self.should_be!r}"


def from_aggregate(limits: AggregateLimits, io_paths: Sequence[str]) -> SliceLimits:
    """The slice of a person whom the policy gives ``limits``."""
    return SliceLimits(
        limits.cpus,
        limits.memory_high,
        limits.memory_max,
        limits.tasks,
        limits.io_weight,
        limits.io_read_bps,
        limits.io_write_bps,
        tuple(io_paths),
    )


def unit_lines(limits: SliceLimits) -> list[str]:
    """The lines of a [Slice] section."""
    lines = [
        f"CPUQuota={_percent(limits.cpus)}",
        f"MemoryHigh={_bytes(limits.memory_high)}",
        f"MemoryMax={_bytes(limits.memory_max)}",
        f"TasksMax={_bytes(limits.tasks)}",
        f"IOWeight={limits.io_weight}",
    ]
    for path in limits.io_paths:
        if limits.io_read_bps is not None:
            lines.append(f"IOReadBandwidthMax={path} {limits.io_read_bps}")
        if limits.io_write_bps is not None:
            lines.append(f"IOWriteBandwidthMax={path} {limits.io_write_bps}")
    return lines


def properties(limits: SliceLimits) -> list[Property]:
    """The properties of ``SetUnitProperties`` and ``StartTransientUnit``. An empty list clears what was set before."""

    def number(value: int | None) -> int:
        return INFINITY if value is None else value

    quota = INFINITY if limits.cpus is None else _permyriad(limits.cpus) * 100
    found: list[Property] = [
        ("CPUQuotaPerSecUSec", "t", quota),
        ("MemoryHigh", "t", number(limits.memory_high)),
        ("MemoryMax", "t", number(limits.memory_max)),
        ("TasksMax", "t", number(limits.tasks)),
        ("IOWeight", "t", limits.io_weight),
    ]
    for name, value in (("IOReadBandwidthMax", limits.io_read_bps), ("IOWriteBandwidthMax", limits.io_write_bps)):
        found.append((name, "a(st)", []))
        if value is not None and limits.io_paths:
            found.append((name, "a(st)", [(path, value) for path in limits.io_paths]))
    return found


def differences(limits: SliceLimits, files: Mapping[str, str], devices: Sequence[str] = (), page: int = 4096) -> list[Difference]:
    """What the kernel's files of a slice (name → content) say otherwise than asked.

    ``devices``: ``MAJ:MIN`` of the disks that bandwidth limits hold for. A file that the kernel does not have counts only where a
    limit was asked for that needs it; ``io.weight`` exists only with the iocost or bfq controllers and is not asked after without.
    """
    found: list[Difference] = []

    def compare(file: str, should_be: str, matters: bool) -> None:
        is_now = files.get(file)
        if is_now is None:
            if matters:
                found.append(Difference(file, "absent", should_be))
        elif is_now.split() != should_be.split():
            found.append(Difference(file, " ".join(is_now.split()), should_be))

    quota = "max" if limits.cpus is None else str(_quota_us(limits.cpus))
    compare("cpu.max", f"{quota} {_PERIOD_US}", limits.cpus is not None)
    compare("memory.high", _paged(limits.memory_high, page), limits.memory_high is not None)
    compare("memory.max", _paged(limits.memory_max, page), limits.memory_max is not None)
    compare("pids.max", "max" if limits.tasks is None else str(limits.tasks), limits.tasks is not None)
    if "io.weight" in files:
        compare("io.weight", f"default {limits.io_weight}", True)
    found.extend(_bandwidth_differences(limits, files.get("io.max"), devices))
    return found


def _bandwidth_differences(limits: SliceLimits, io_max: str | None, devices: Sequence[str]) -> list[Difference]:
    asked = {"rbps": limits.io_read_bps, "wbps": limits.io_write_bps}
    if io_max is None:
        wanted = [f"{key}={value}" for key, value in asked.items() if value is not None]
        return [Difference("io.max", "absent", " ".join(wanted))] if wanted and devices else []
    now = {line.split()[0]: dict(pair.split("=", 1) for pair in line.split()[1:]) for line in io_max.splitlines() if line.strip()}
    found: list[Difference] = []
    for device in sorted({*devices, *now}):
        for key, value in asked.items():
            should_be = str(value) if value is not None and device in devices else "max"
            is_now = now.get(device, {}).get(key, "max")
            if is_now != should_be:
                found.append(Difference("io.max", f"{device} {key}={is_now}", f"{device} {key}={should_be}"))
    return found


def _permyriad(cpus: float) -> int:
    """Hundredths of a percent of one CPU, the finest that systemd takes, and no less than the kernel's least of 1 ms in 100."""
    return max(100, round(cpus * 10_000))


def _quota_us(cpus: float) -> int:
    """Microseconds of CPU time in each period of 100 ms."""
    return _permyriad(cpus) * _PERIOD_US // 10_000


def _percent(cpus: float | None) -> str:
    if cpus is None:
        return ""
    whole, rest = divmod(_permyriad(cpus), 100)
    return f"{whole}.{rest:02}%" if rest else f"{whole}%"


def _bytes(value: int | None) -> str:
    return "infinity" if value is None else str(value)


def _paged(value: int | None, page: int) -> str:
    return "max" if value is None else str(value // page * page)
