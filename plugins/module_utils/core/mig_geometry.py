# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which MIG instances a GPU can hold side by side. Everything is derived from what NVML reports for that GPU.

Placements lie on the axis of memory slices (``nvmlGpuInstancePlacement_t``). A set of instances is legal when their
memory spans do not overlap, no profile occurs more often than the driver allows, and the compute slices suffice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Profile:
    """One GPU instance profile of one GPU. ``size`` and ``starts`` in memory slices; ``max_count`` instances at once.

    ``id`` is the driver's profile id. The name alone says nothing across models: ``1g.10gb`` is profile 19 on an
    80 GB A100 and profile 15 on a 40 GB one.
    """

    id: int
    name: str
    compute_slices: int
    size: int
    starts: tuple[int, ...]
    max_count: int
    memory_mib: int


@dataclass(frozen=True, order=True)
class Placement:
    """An instance of a profile at a place."""

    profile_id: int
    start: int


@dataclass(frozen=True)
class Geometry:
    """The profiles of one GPU and its CUDA compute capability's major number."""

    profiles: tuple[Profile, ...]
    compute_capability: int

    @cached_property
    def compute_slices(self) -> int:
        """Compute slices of the whole GPU: those of its largest profile."""
        return max((p.compute_slices for p in self.profiles), default=0)

    @cached_property
    def _by_id(self) -> dict[int, Profile]:
        return {p.id: p for p in self.profiles}

    def profile(self, profile_id: int) -> Profile:
        """The profile with that id; raises KeyError for an id that this GPU doesn't have."""
        return self._by_id[profile_id]

    def by_compute(self, compute_slices: int) -> Profile | None:
        """The plain profile with that many compute slices: the smallest in memory, without media extras (``+me``)."""
        plain = [p for p in self.profiles if p.compute_slices == compute_slices and "+" not in p.name and "-" not in p.name]
        return min(plain, key=lambda p: (p.size, p.id), default=None)

    def named(self, name: str) -> Profile | None:
        """The profile of that name, or the plain one for a short form such as ``3g``; None when there is none."""
        wanted = name.strip().lower()
        for profile in self.profiles:
            if profile.name.lower() == wanted:
                return profile
        if wanted.endswith("g") and wanted[:-1].isdigit():
            return self.by_compute(int(wanted[:-1]))
        return None

    def compute_charge(self, profile: Profile) -> int:
        """Compute slices to count for an instance of that profile.

        From compute capability 9 on, the 1-slice profile with doubled memory has nearly two slices' worth of
        multiprocessors (26 of 132 on H100 against 16 for a plain one), so that it is counted as two.
        """
        plain = self.by_compute(profile.compute_slices)
        if self.compute_capability >= 9 and profile.compute_slices == 1 and plain is not None and profile.size > plain.size:
            return 2
        return profile.compute_slices

    def span(self, placement: Placement) -> range:
        """The memory slices that the placement covers."""
        return range(placement.start, placement.start + self.profile(placement.profile_id).size)

    def legal(self, placements: Iterable[Placement]) -> bool:
        """Whether these instances can stand side by side, each at a place that the driver offers for its profile."""
        covered: set[int] = set()
        counts: Counter[int] = Counter()
        charge = 0
        for placement in placements:
            profile = self.profile(placement.profile_id)
            span = set(self.span(placement))
            if placement.start not in profile.starts or covered & span:
                return False
            covered |= span
            counts[profile.id] += 1
            charge += self.compute_charge(profile)
            if counts[profile.id] > profile.max_count or charge > self.compute_slices:
                return False
        return True

    def preferred_starts(self, profile: Profile) -> tuple[int, ...]:
        """The profile's places, best first, so that the remaining space stays usable for the larger profiles.

        Odd sizes (1g, 3g) from the high end, even ones (2g, 4g) from the low end, as the driver's own placement does.
        """
        return tuple(sorted(profile.starts, reverse=profile.compute_slices % 2 == 1))

    def largest_first(self, profile: Profile) -> tuple[int, int, int]:
        """Sort key by which instances are placed: what has the fewest choices first."""
        return (-profile.size, -profile.compute_slices, profile.id)
