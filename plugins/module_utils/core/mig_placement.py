# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Finding places for MIG instances beside some that stay: a depth-first search, exact because a GPU has few slices.

At most seven instances on eight memory slices; instances of one profile are placed in one order only, so that the
search visits each set of places once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from .mig_geometry import Geometry, Placement, Profile


def places(
    geometry: Geometry, wanted: Sequence[Placement], free: Sequence[int], kept: Sequence[Placement]
) -> Iterator[tuple[Placement, ...]]:
    """Every legal set of new placements, preferred places first.

    ``wanted`` are pinned to their places, ``free`` are profile ids to be placed anywhere, ``kept`` stand already.
    """
    base = [*kept, *wanted]
    if not geometry.legal(base):
        return
    order = sorted((geometry.profile(i) for i in free), key=geometry.largest_first)
    for chosen in _place(geometry, order, base, None):
        yield (*wanted, *chosen)


def _place(
    geometry: Geometry, order: Sequence[Profile], standing: list[Placement], last: Placement | None
) -> Iterator[tuple[Placement, ...]]:
    if not order:
        yield ()
        return
    profile = order[0]
    starts = geometry.preferred_starts(profile)
    if last is not None and last.profile_id == profile.id:
        starts = starts[starts.index(last.start) + 1 :]
    for start in starts:
        placement = Placement(profile.id, start)
        if geometry.legal([*standing, placement]):
            for rest in _place(geometry, order[1:], [*standing, placement], placement):
                yield (placement, *rest)


def fits(geometry: Geometry, profile_ids: Sequence[int], kept: Sequence[Placement] = ()) -> bool:
    """Whether instances of these profiles have room beside ``kept``."""
    return next(places(geometry, (), profile_ids, kept), None) is not None


def legal_multisets(geometry: Geometry) -> set[tuple[int, ...]]:
    """Every multiset of profile ids (sorted) that the GPU can hold, the empty one included."""
    found: set[tuple[int, ...]] = {()}
    border: set[tuple[int, ...]] = {()}
    while border:
        grown = {tuple(sorted((*ids, p.id))) for ids in border for p in geometry.profiles}
        border = {ids for ids in grown - found if fits(geometry, ids)}
        found |= border
    return found


def largest_fitting(geometry: Geometry, profile_ids: Sequence[int], kept: Sequence[Placement] = ()) -> list[tuple[int, ...]]:
    """The largest parts of a wanted multiset that fit beside ``kept``: none of them can take another wanted instance.

    Best use of the GPU's compute slices first.
    """
    wanted = Counter(profile_ids)
    parts: set[tuple[int, ...]] = {()}
    border: set[tuple[int, ...]] = {()}
    while border:
        grown = set()
        for ids in border:
            used = Counter(ids)
            grown |= {tuple(sorted((*ids, i))) for i in wanted if used[i] < wanted[i]}
        border = {ids for ids in grown if fits(geometry, ids, kept)}
        parts |= border
    largest = [a for a in parts if a and not any(a != b and not Counter(a) - Counter(b) for b in parts)]
    return sorted(largest, key=lambda ids: (-sum(geometry.profile(i).compute_slices for i in ids), len(ids), ids))
