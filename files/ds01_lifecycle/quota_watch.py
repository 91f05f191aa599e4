# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What each person uses of their quotas now, as far as the host knows without asking anybody.

Claims, containers, memory of their slice, disk as the kernel counts it, and the GPU-hours of the last seven days as the gate's queue has
charged them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ds01.cgroup_fs import CgroupFs
from ds01.core.claim import Claim
from ds01.core.disk_plan import DiskUse
from ds01.core.gpu_served import Served, hours
from ds01.core.limits import Limits
from ds01.core.notices import QuotaUse
from ds01.core.quota import number, usage
from ds01.core.slice_names import user_slice
from ds01.core.sweep_plan import Seen

_GIB = 2.0**30


def running_by_uid(seen: Iterable[Seen]) -> Mapping[int, int]:
    """How many containers each person runs."""
    found: dict[int, int] = {}
    for one in seen:
        if one.subject.uid is not None and one.running:
            found[one.subject.uid] = found.get(one.subject.uid, 0) + 1
    return found


def memory_in_use(directory: Path) -> int | None:
    """Bytes that a slice can't give back at once: memory.current without inactive file cache, as ``docker stats`` counts it."""
    try:
        current = int((directory / "memory.current").read_text())
        lines = (directory / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    inactive = next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
    return max(0, current - inactive)


@dataclass(frozen=True)
class Books:
    """Where use is looked up. ``served``: GPU-equivalent-seconds by person and day; None where the queue can't be read."""

    claims: tuple[Claim, ...]
    served: Served | None
    cgroups: CgroupFs
    disk: Callable[[int], DiskUse | None]


def uses(uid: int, limits: Limits, running: int, books: Books) -> list[QuotaUse]:
    """Every quota that has a limit and whose use is known."""
    found = []
    claims, cgroups = books.claims, books.cgroups
    quota, held = limits.gpu.equivalents, usage(claims, uid).equivalents
    if quota is not None:
        found.append(QuotaUse("GPU quota", float(held), float(quota), f"{number(held)} of {number(quota)} GPU-equivalents"))
    if limits.container.count is not None:
        count = limits.container.count
        found.append(QuotaUse("container quota", running, count, f"{running} of {count} containers"))
    memory = memory_in_use(cgroups.path(user_slice(uid)))
    if limits.aggregate.memory_max is not None and memory is not None:
        most = limits.aggregate.memory_max
        found.append(QuotaUse("memory quota", memory, most, f"{memory / _GIB:.1f} of {most / _GIB:.1f} GiB"))
    disk = books.disk(uid)
    if disk is not None and disk.limit_bytes is not None:
        numbers = f"{disk.used_bytes / _GIB:.1f} of {disk.limit_bytes / _GIB:.1f} GiB in {disk.directory}"
        found.append(QuotaUse("disk quota", disk.used_bytes, disk.limit_bytes, numbers))
    if limits.gpu.hours_per_week is not None and books.served is not None:
        spent, week = hours(books.served, uid), limits.gpu.hours_per_week
        found.append(QuotaUse("GPU-hours of seven days", spent, week, f"{spent:.1f} of {week:g} GPU-hours"))
    return found
