# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Re-partitioning on demand: how room for one instance is made on a GPU that the administrator lets change, and what that may not touch.

Whoever uses an instance keeps it where it is. Of the idle ones as little as possible goes: fewest compute slices, then fewest instances.
What is left free beside the new instance is filled with the largest profiles that are allowed, so that nothing lies waste. Nothing but
allowed profiles is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from .mig_geometry import Geometry, Placement, Profile
from .mig_layout import EVERY_GPU, GpuLayout, HostLayout, WantedInstance
from .mig_placement import places
from .mig_state import GpuInstance, GpuState


@dataclass(frozen=True)
class Wish:
    """An instance of ``profile`` (name as the driver has it, or ``2g``) on ``gpu`` (index or UUID)."""

    gpu: str
    profile: str


@dataclass(frozen=True)
class Remake:
    """What shall stand on a GPU; ``layout`` None where a free instance as wished for stands there already."""

    gpu: GpuState
    profile: str
    layout: GpuLayout | None


class NoRoom(RuntimeError):
    """None of the wishes can be had now; says of each GPU why."""


def decide(layout: HostLayout, gpus: Sequence[GpuState], wishes: Sequence[Wish]) -> Remake:
    """The first profile among the wishes for which there is room, on the GPU where that costs least. Raises NoRoom.

    ``gpus`` with everybody who uses an instance or a GPU among its users.
    """
    reasons: list[str] = []
    for name in dict.fromkeys(w.profile for w in wishes):
        best: tuple[tuple[int, int, int], Remake] | None = None
        for selector in dict.fromkeys(w.gpu for w in wishes if w.profile == name):
            gpu = next((g for g in gpus if selector in (str(g.index), g.uuid)), None)
            if gpu is None:
                reasons.append(f"GPU {selector}: is not on this host, or lost")
                continue
            found = _on(gpu, name, allowed_on(layout, gpu.index, gpu.uuid))
            if isinstance(found, str):
                reasons.append(f"GPU {gpu.index}: {found}")
            elif best is None or found[0] < best[0]:
                best = found
        if best is not None:
            return best[1]
    raise NoRoom("; ".join(dict.fromkeys(reasons)) or "nothing was wished for")


def allowed_on(layout: HostLayout, index: int, uuid: str) -> tuple[str, ...]:
    """The profiles that may be made on demand on that GPU; none where it has a fixed layout."""
    named = [e for e in layout.gpus if e.gpu in (str(index), uuid)] or [e for e in layout.gpus if e.gpu == EVERY_GPU]
    return named[0].dynamic or () if named else ()


def as_it_stands(entry: GpuLayout, starting: Iterable[int], gpu: GpuState, geometry: Geometry) -> list[Placement]:
    """What a dynamic GPU shall have: the instances that stand there, but for those of profiles that nobody allows.

    Nothing where it has a fixed layout, or where nothing stands yet: then it gets what it starts with. ``starting``: the profiles of that.
    """
    if entry.dynamic is None or not gpu.mig_enabled:
        return []
    allowed = {p.id for p in _profiles(geometry, entry.dynamic)} | set(starting)
    return [i.placement for i in gpu.instances if i.profile_id in allowed]


def _on(gpu: GpuState, name: str, allowed: Sequence[str]) -> tuple[tuple[int, int, int], Remake] | str:
    """The least change on one GPU with its cost (compute slices and instances destroyed, index), or why there is none."""
    if not allowed:
        return "its layout is fixed"
    if not gpu.mig_enabled or gpu.geometry is None:
        return "MIG is off"
    if gpu.users:
        return f"is used as a whole by {', '.join(gpu.users)}"
    profile, profiles = gpu.geometry.named(name), _profiles(gpu.geometry, allowed)
    if profile is None or profile not in profiles:
        return f"{name} may not be made there; allowed are {', '.join(p.name for p in profiles) or 'none that it has'}"
    if any(not i.users and i.profile_id == profile.id and i.whole(profile.compute_slices) for i in gpu.instances):
        return (0, 0, gpu.index), Remake(gpu, name, None)
    found = _least(gpu, gpu.geometry, profile, profiles)
    if found is None:
        used = sum(1 for i in gpu.instances if i.users)
        return f"no room for {profile.name} beside {used} instances in use"
    cost, placements = found
    wanted = tuple(WantedInstance(gpu.geometry.profile(p.profile_id).name, p.start) for p in placements)
    return (*cost, gpu.index), Remake(gpu, name, GpuLayout(gpu.uuid, mig=True, instances=wanted))


def _least(
    gpu: GpuState, geometry: Geometry, profile: Profile, profiles: Sequence[Profile]
) -> tuple[tuple[int, int], tuple[Placement, ...]] | None:
    idle = [i for i in gpu.instances if not i.users]
    best: tuple[tuple[int, int, int, tuple[Placement, ...]], tuple[Placement, ...]] | None = None
    for count in range(len(idle) + 1):
        for gone in combinations(idle, count):
            kept = [i.placement for i in gpu.instances if i not in gone]
            lost = sum(_slices(geometry, i) for i in gone)
            if best is not None and (lost, count) > best[0][:2]:
                continue
            for placed in places(geometry, (), [profile.id], kept):
                standing = [*kept, *placed]
                filled = _filled(geometry, standing, profiles) if gone else standing
                charge = sum(geometry.profile(p.profile_id).compute_slices for p in filled)
                key = (lost, count, -charge, tuple(sorted(filled, key=lambda p: p.start)))
                if best is None or key < best[0]:
                    best = key, key[3]
    return None if best is None else (best[0][:2], best[1])


def _filled(geometry: Geometry, standing: Sequence[Placement], profiles: Sequence[Profile]) -> list[Placement]:
    found = list(standing)
    for profile in sorted(profiles, key=geometry.largest_first):
        for start in geometry.preferred_starts(profile):
            if geometry.legal([*found, Placement(profile.id, start)]):
                found.append(Placement(profile.id, start))
    return found


def _slices(geometry: Geometry, instance: GpuInstance) -> int:
    known = {p.id: p.compute_slices for p in geometry.profiles}
    return known.get(instance.profile_id, instance.size)


def _profiles(geometry: Geometry, names: Iterable[str]) -> list[Profile]:
    return list(dict.fromkeys(p for name in names if (p := geometry.named(name)) is not None))
