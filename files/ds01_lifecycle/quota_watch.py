# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What each person uses of their quotas now, as far as the host knows without asking anybody: claims, containers, memory of their slice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ds01.cgroup_fs import CgroupFs
from ds01.core.claim import Claim
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


def uses(uid: int, limits: Limits, claims: Iterable[Claim], running: int, cgroups: CgroupFs) -> list[QuotaUse]:
    """Every quota that has a limit and whose use is known."""
    found = []
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
    return found
