# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The least change from what stands to the desired MIG layout, or why it can't be had.

Pure: facts in, plan out. Carried out only in part, the rest of a plan is found again by planning anew, because what was
created counts as standing and is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .mig_choice import Choice, Wanted, choose
from .mig_dynamic import as_it_stands
from .mig_geometry import Geometry, Placement
from .mig_layout import EVERY_GPU, GpuLayout, HostLayout, named_profiles
from .mig_placement import largest_fitting
from .mig_state import GpuInstance, GpuState
from .mig_steps import Create, Destroy, GpuPlan, HostPlan, Impossibility, Reason, Repair, SetMode, Step


def plan_host(layout: HostLayout, gpus: Sequence[GpuState], force: bool = False) -> HostPlan:
    """The plan for all GPUs that the layout concerns.

    Without ``force`` an instance in use is never destroyed and a GPU in use never switched; with it, the plan says what is displaced.
    """
    chosen, problems = _select(layout, gpus)
    plans: list[GpuPlan] = []
    for gpu, entry in chosen:
        plan = _plan_gpu(entry, gpu, force)
        if isinstance(plan, Impossibility):
            problems.append(plan)
        else:
            plans.append(plan)
    return HostPlan(tuple(plans), tuple(problems))


def _select(layout: HostLayout, gpus: Sequence[GpuState]) -> tuple[list[tuple[GpuState, GpuLayout]], list[Impossibility]]:
    """Which entry is for which GPU: one by index or UUID goes before ``all``."""
    problems: list[Impossibility] = []
    named: dict[str, GpuLayout] = {}
    rest = GpuLayout(EVERY_GPU, mig=False) if layout.purge else None
    for entry in layout.gpus:
        if entry.gpu == EVERY_GPU:
            rest = entry
            continue
        gpu = next((g for g in gpus if entry.gpu in (str(g.index), g.uuid)), None)
        if gpu is None:
            known = ", ".join(f"{g.index} ({g.uuid})" for g in gpus) or "none"
            problems.append(Impossibility(Reason.NO_SUCH_GPU, entry.gpu, f"GPU {entry.gpu}: not on this host, or lost; there are: {known}"))
        elif gpu.uuid in named:
            message = f"GPU {gpu.index}: named twice, as {named[gpu.uuid].gpu} and as {entry.gpu}; name it once"
            problems.append(Impossibility(Reason.NAMED_TWICE, str(gpu.index), message))
        else:
            named[gpu.uuid] = entry
    chosen = [(g, e) for g in gpus if (e := named.get(g.uuid, rest)) is not None]
    return chosen, problems


def _plan_gpu(entry: GpuLayout, gpu: GpuState, force: bool) -> GpuPlan | Impossibility:
    if not entry.mig:
        return _plan_off(gpu, force)
    if not gpu.mig_capable:
        return Impossibility(Reason.MIG_UNSUPPORTED, str(gpu.index), f"GPU {gpu.index} ({gpu.model}): has no MIG; give it mode off")
    mode = _switch(gpu, True)
    if not gpu.mig_enabled and gpu.users and not force:
        return _gpu_in_use(gpu, "switch MIG on")
    if gpu.geometry is None:
        return GpuPlan(gpu.uuid, gpu.index, mode, True, provisional=True)
    wanted = _wanted(entry, gpu, gpu.geometry)
    if isinstance(wanted, Impossibility):
        return wanted
    standing = as_it_stands(entry, [w.profile_id for w in wanted], gpu, gpu.geometry)
    wanted = [Wanted(p.profile_id, p.start) for p in standing] or wanted
    choice = choose(gpu.geometry, wanted, gpu.instances)
    if choice is None:
        return _does_not_fit(gpu, gpu.geometry, wanted)
    displaced = () if gpu.mig_enabled else _displaced_gpu(gpu)
    return _plan_instances(gpu, gpu.geometry, choice, mode, displaced, force)


def _plan_off(gpu: GpuState, force: bool) -> GpuPlan | Impossibility:
    """Destroy everything, then switch. The pending mode of a GPU that is off already can be set back at any time."""
    if not gpu.mig_enabled:
        return GpuPlan(gpu.uuid, gpu.index, _switch(gpu, False), False)
    used = [i for i in gpu.instances if i.users]
    if (used or gpu.users) and not force:
        return _blocked(gpu, used) if used else _gpu_in_use(gpu, "switch MIG off")
    ordered = sorted(gpu.instances, key=lambda i: (not i.users, i.start))
    steps: tuple[Step, ...] = (*(_destroy(gpu, i) for i in ordered), *_switch(gpu, False))
    return GpuPlan(gpu.uuid, gpu.index, steps, False, displaced=(*_displaced(gpu, used), *_displaced_gpu(gpu)))


def _plan_instances(
    gpu: GpuState, geometry: Geometry, choice: Choice, mode: tuple[Step, ...], displaced: tuple[str, ...], force: bool
) -> GpuPlan | Impossibility:
    gone = [i for i in gpu.instances if i not in choice.keep]
    repaired = [i for i in choice.keep if not i.whole(geometry.profile(i.profile_id).compute_slices)]
    used = [i for i in (*gone, *repaired) if i.users]
    if used and not force:
        return _blocked(gpu, used)
    steps: list[Step] = list(mode)
    steps += [_destroy(gpu, i) for i in sorted(gone, key=lambda i: (not i.users, i.start))]
    for instance in sorted(repaired, key=lambda i: i.start):
        profile = geometry.profile(instance.profile_id)
        steps.append(Repair(gpu.uuid, gpu.index, instance.gi_id, profile.name, instance.start, profile.compute_slices))
    steps += [_create(gpu, geometry, p) for p in choice.create]
    return GpuPlan(gpu.uuid, gpu.index, tuple(steps), True, choice.placements, (*displaced, *_displaced(gpu, used)))


def _switch(gpu: GpuState, enabled: bool) -> tuple[Step, ...]:
    if gpu.mig_enabled == enabled and gpu.mig_pending == enabled:
        return ()
    return (SetMode(gpu.uuid, gpu.index, enabled, rollback=gpu.mig_enabled == enabled),)


def _wanted(entry: GpuLayout, gpu: GpuState, geometry: Geometry) -> list[Wanted] | Impossibility:
    names = ", ".join(p.name for p in sorted(geometry.profiles, key=lambda p: (p.compute_slices, p.size, p.id)))
    if entry.layout is not None:
        profiles = named_profiles(entry.layout, geometry)
        if profiles is None:
            message = f"GPU {gpu.index} ({gpu.model}): layout {entry.layout} needs a profile that it doesn't have; it has {names}"
            return Impossibility(Reason.UNKNOWN_PROFILE, str(gpu.index), message)
        return [Wanted(p.id) for p in profiles]
    wanted: list[Wanted] = []
    for item in entry.instances:
        profile = geometry.named(item.profile)
        if profile is None:
            message = f"GPU {gpu.index} ({gpu.model}): has no profile {item.profile}; it has {names}"
            return Impossibility(Reason.UNKNOWN_PROFILE, str(gpu.index), message)
        if item.start is not None and item.start not in profile.starts:
            starts = ", ".join(map(str, profile.starts))
            message = f"GPU {gpu.index} ({gpu.model}): {profile.name} can't start at {item.start}; it can at {starts}"
            return Impossibility(Reason.UNKNOWN_START, str(gpu.index), message)
        wanted.append(Wanted(profile.id, item.start))
    return wanted


def _does_not_fit(gpu: GpuState, geometry: Geometry, wanted: Sequence[Wanted]) -> Impossibility:
    ids = [w.profile_id for w in wanted]
    parts = " | ".join(_names(geometry, part) for part in largest_fitting(geometry, ids)[:4])
    pins = ", ".join(f"{geometry.profile(w.profile_id).name} at {w.start}" for w in wanted if w.start is not None)
    places = f" with {pins}" if pins else ""
    message = f"GPU {gpu.index} ({gpu.model}): {_names(geometry, ids)}{places} doesn't fit; of these fit, placed freely: {parts or 'none'}"
    return Impossibility(Reason.DOES_NOT_FIT, str(gpu.index), message)


def _names(geometry: Geometry, ids: Sequence[int]) -> str:
    counts = Counter(ids)
    profiles = sorted((geometry.profile(i) for i in counts), key=geometry.largest_first)
    return " + ".join(p.name if counts[p.id] == 1 else f"{counts[p.id]}x{p.name}" for p in profiles)


def _profile_name(gpu: GpuState, profile_id: int) -> str:
    known = {p.id: p.name for p in gpu.geometry.profiles} if gpu.geometry is not None else {}
    return known.get(profile_id, f"profile {profile_id}")


def _destroy(gpu: GpuState, instance: GpuInstance) -> Destroy:
    return Destroy(gpu.uuid, gpu.index, instance.gi_id, _profile_name(gpu, instance.profile_id), instance.start)


def _create(gpu: GpuState, geometry: Geometry, placement: Placement) -> Create:
    profile = geometry.profile(placement.profile_id)
    return Create(gpu.uuid, gpu.index, profile.id, profile.name, placement.start, profile.size, profile.compute_slices)


def _displaced(gpu: GpuState, used: Sequence[GpuInstance]) -> tuple[str, ...]:
    return tuple(f"GPU {gpu.index}: {_profile_name(gpu, i.profile_id)} at {i.start}, used by {', '.join(i.users)}" for i in used)


def _displaced_gpu(gpu: GpuState) -> tuple[str, ...]:
    return (f"GPU {gpu.index}, used by {', '.join(gpu.users)}",) if gpu.users else ()


def _blocked(gpu: GpuState, used: Sequence[GpuInstance]) -> Impossibility:
    who = "; ".join(f"{_profile_name(gpu, i.profile_id)} at {i.start} is used by {', '.join(i.users)}" for i in used)
    message = f"GPU {gpu.index} ({gpu.model}): {who}; stop them first, or keep these instances in the layout"
    return Impossibility(Reason.IN_USE, str(gpu.index), message)


def _gpu_in_use(gpu: GpuState, what: str) -> Impossibility:
    message = f"GPU {gpu.index} ({gpu.model}): can't {what} while it is used by {', '.join(gpu.users)}; stop them first"
    return Impossibility(Reason.IN_USE, str(gpu.index), message)
