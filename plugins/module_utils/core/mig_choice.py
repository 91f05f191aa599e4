# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which standing instances to keep for a wanted set, and where to put the others: the least change, exactly.

Order of importance: keep instances in use; keep as many as possible; keep whole ones rather than half-done ones; places that
leave the most room. A GPU holds at most seven instances or so, hence every subset is tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from .mig_geometry import Geometry, Placement
from .mig_placement import places
from .mig_state import GpuInstance


@dataclass(frozen=True)
class Wanted:
    """A profile, at ``start`` or anywhere."""

    profile_id: int
    start: int | None = None


@dataclass(frozen=True)
class Choice:
    """Standing instances to keep, and placements to create."""

    keep: tuple[GpuInstance, ...]
    create: tuple[Placement, ...]

    @property
    def placements(self) -> tuple[Placement, ...]:
        """Everything that stands afterwards, by place."""
        return tuple(sorted((*(i.placement for i in self.keep), *self.create), key=lambda p: p.start))


def choose(geometry: Geometry, wanted: Sequence[Wanted], standing: Sequence[GpuInstance]) -> Choice | None:
    """The best choice, or None when the wanted set doesn't fit the GPU at all.

    Standing instances in use are kept wherever the wanted set has a use for them; whether all of them are is the caller's question.
    """
    best: tuple[tuple[int, int, int, int, tuple[Placement, ...]], Choice] | None = None
    for count in range(len(standing) + 1):
        for keep in combinations(standing, count):
            choice = _complete(geometry, wanted, keep)
            if choice is None:
                continue
            key = _cost(geometry, choice)
            if best is None or key < best[0]:
                best = (key, choice)
    return None if best is None else best[1]


def _complete(geometry: Geometry, wanted: Sequence[Wanted], keep: tuple[GpuInstance, ...]) -> Choice | None:
    """Keep exactly these and create the rest, or None when that doesn't give the wanted set.

    What already stands is legal by its existence; the rules are asked only about what is to be created.
    """
    pinned = Counter((w.profile_id, w.start) for w in wanted if w.start is not None)
    free = Counter(w.profile_id for w in wanted if w.start is None)
    for instance in keep:
        if pinned[instance.profile_id, instance.start] > 0:
            pinned[instance.profile_id, instance.start] -= 1
        elif free[instance.profile_id] > 0:
            free[instance.profile_id] -= 1
        else:
            return None
    at = [Placement(profile_id, start) for profile_id, start in pinned.elements() if start is not None]
    anywhere = list(free.elements())
    if not at and not anywhere:
        return Choice(keep, ())
    created = next(places(geometry, at, anywhere, [i.placement for i in keep]), None)
    return None if created is None else Choice(keep, created)


def _cost(geometry: Geometry, choice: Choice) -> tuple[int, int, int, int, tuple[Placement, ...]]:
    in_use = sum(1 for i in choice.keep if i.users)
    half_done = sum(1 for i in choice.keep if not i.whole(geometry.profile(i.profile_id).compute_slices))
    rank = 0
    for placement in choice.placements:
        starts = geometry.preferred_starts(geometry.profile(placement.profile_id))
        rank += starts.index(placement.start) if placement.start in starts else len(starts)
    return (-in_use, -len(choice.keep), half_done, rank, choice.placements)
