# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What stands on the GPUs, as plain data and as text: before a plan, and as the plan will leave it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .mig_geometry import Geometry, Placement
from .mig_state import GpuInstance, GpuState
from .mig_steps import HostPlan


def present(gpus: Sequence[GpuState]) -> list[dict[str, Any]]:
    """Every GPU with its mode and instances, by index; memory in MiB, ``start`` and ``size`` in memory slices."""
    return [_gpu(g, [i.placement for i in g.instances], {i.placement: i for i in g.instances}) for g in sorted(gpus, key=lambda g: g.index)]


def predicted(gpus: Sequence[GpuState], plan: HostPlan) -> list[dict[str, Any]]:
    """The same as the plan leaves it. Users of instances that stay are kept; what is created is used by nobody."""
    plans = {p.gpu: p for p in plan.gpus} if not plan.problems else {}
    result = []
    for gpu in sorted(gpus, key=lambda g: g.index):
        change = plans.get(gpu.uuid)
        if change is None:
            result.append(_gpu(gpu, [i.placement for i in gpu.instances], {i.placement: i for i in gpu.instances}))
            continue
        staying = {i.placement: i for i in gpu.instances if i.placement in change.placements}
        whole = {p: _whole(gpu.geometry, i) for p, i in staying.items()}
        result.append(_gpu(replace(gpu, mig_enabled=change.mig_enabled, mig_pending=change.mig_enabled), change.placements, whole))
    return result


def in_short(report: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The report for a diff: per GPU ``off`` or its instances as ``3g.20gb@4``; half-done states are named."""
    short: dict[str, Any] = {}
    for gpu in report:
        instances = [f"{i['profile']}@{i['start']}" + ("" if i["whole"] else " (half-done)") for i in gpu["instances"]]
        state: Any = instances if gpu["mode"] == "mig" else "off"
        short[f"GPU {gpu['index']} ({gpu['uuid']})"] = {"mig": state, "pending": gpu["pending"]} if gpu["pending"] != gpu["mode"] else state
    return short


def _gpu(gpu: GpuState, placements: Sequence[Placement], known: dict[Placement, GpuInstance]) -> dict[str, Any]:
    ordered = sorted(placements, key=lambda p: p.start)
    return {
        "index": gpu.index,
        "uuid": gpu.uuid,
        "model": gpu.model,
        "mig_capable": gpu.mig_capable,
        "mode": "mig" if gpu.mig_enabled else "off",
        "pending": "mig" if gpu.mig_pending else "off",
        "instances": [_instance(gpu.geometry, p, known.get(p)) for p in ordered],
        "users": list(gpu.users),
    }


def _instance(geometry: Geometry | None, placement: Placement, standing: GpuInstance | None) -> dict[str, Any]:
    profile = geometry.profile(placement.profile_id) if geometry is not None else None
    whole = standing is None or profile is None or standing.whole(profile.compute_slices)
    return {
        "profile": profile.name if profile is not None else f"profile {placement.profile_id}",
        "profile_id": placement.profile_id,
        "start": placement.start,
        "size": profile.size if profile is not None else 0,
        "compute_slices": profile.compute_slices if profile is not None else 0,
        "memory_mib": profile.memory_mib if profile is not None else 0,
        "whole": whole,
        "users": list(standing.users) if standing is not None else [],
    }


def _whole(geometry: Geometry | None, instance: GpuInstance) -> GpuInstance:
    if geometry is None:
        return instance
    return replace(instance, compute=((0, geometry.profile(instance.profile_id).compute_slices),))
