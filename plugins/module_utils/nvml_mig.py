# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""MIG through NVML: what a GPU's profiles and instances are, and the calls that change them. Geometry is read, never assumed."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .core.mig_geometry import Geometry, Profile
from .nvml_binding import NvmlError, NvmlNotFound, NvmlNotSupported, binding, call, text

_PLAIN_COMPUTE_PROFILES = range(7)  # 1 to 8 slices; REV1 and NVL variants (7, 8) have the same sizes for other ends
_SHARED_ENGINES = 0


@dataclass(frozen=True)
class RawInstance:
    """A GPU instance as the driver has it; ``compute``: (CI id, compute slices) of each compute instance."""

    gi_id: int
    profile_id: int
    start: int
    size: int
    compute: tuple[tuple[int, int], ...]


def mode(handle: Any) -> tuple[bool, bool] | None:
    """(current, pending) MIG mode, or None for a GPU without MIG."""
    try:
        current, pending = call("nvmlDeviceGetMigMode", handle)
    except NvmlNotSupported:
        return None
    return bool(current), bool(pending)


def geometry(handle: Any) -> Geometry | None:
    """The GPU's profiles with their places, or None where the driver shows none (no MIG, or not before it is on)."""
    found: dict[int, Profile] = {}
    for number in range(binding().NVML_GPU_INSTANCE_PROFILE_COUNT):
        try:
            info = call("nvmlDeviceGetGpuInstanceProfileInfo", handle, number)
            places = _places(handle, info.id)
        except NvmlNotSupported:
            continue
        if places and info.id not in found:
            name = text(info.name).removeprefix("MIG ")
            starts = tuple(sorted(place[0] for place in places))
            size = places[0][1]
            found[info.id] = Profile(info.id, name, info.sliceCount, size, starts, info.instanceCount, info.memorySizeMB)
    if not found:
        return None
    capability = call("nvmlDeviceGetCudaComputeCapability", handle)
    return Geometry(tuple(found.values()), int(capability[0]))


def instances(handle: Any, profiles: Geometry) -> tuple[RawInstance, ...]:
    """All GPU instances, by place; whole or half-done."""
    found = []
    for profile in profiles.profiles:
        for instance in _listed("nvmlDeviceGetGpuInstances", handle, profile.id, profile.max_count, binding().c_nvmlGpuInstance_t):
            info = call("nvmlGpuInstanceGetInfo", instance)
            found.append(RawInstance(info.id, info.profileId, info.placement.start, info.placement.size, _compute_instances(instance)))
    return tuple(sorted(found, key=lambda i: i.start))


def mig_uuids(handle: Any) -> dict[tuple[int, int], str]:
    """UUID of each MIG device by (GI id, CI id). The index by which NVML lists them is dense and shifts: it's never kept."""
    found = {}
    for index in range(call("nvmlDeviceGetMaxMigDeviceCount", handle)):
        with contextlib.suppress(NvmlNotFound, NvmlNotSupported):
            device = call("nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
            key = (call("nvmlDeviceGetGpuInstanceId", device), call("nvmlDeviceGetComputeInstanceId", device))
            found[key] = text(call("nvmlDeviceGetUUID", device))
    return found


def set_mode(handle: Any, enabled: bool) -> int:
    """Ask for a MIG mode; returns the activation status (an NVML return code, 0: in force). Re-read the mode: success alone says little."""
    return int(call("nvmlDeviceSetMigMode", handle, int(enabled)))


def create(handle: Any, profile_id: int, start: int, size: int) -> int:
    """Create a GPU instance at that place; returns its GI id. Its compute instance is made by ``make_whole``."""
    place = binding().c_nvmlGpuInstancePlacement_t(start, size)
    instance = call("nvmlDeviceCreateGpuInstanceWithPlacement", handle, profile_id, ctypes.byref(place))
    return int(call("nvmlGpuInstanceGetInfo", instance).id)


def make_whole(handle: Any, gi_id: int, compute_slices: int) -> None:
    """Leave the GPU instance with one compute instance of full size; does nothing when that's how it is."""
    instance = call("nvmlDeviceGetGpuInstanceById", handle, gi_id)
    present = _compute_instances(instance)
    if len(present) == 1 and present[0][1] == compute_slices:
        return
    _destroy_compute(instance, present)
    for number, profile_id, slices in _compute_profiles(instance):
        if number in _PLAIN_COMPUTE_PROFILES and slices == compute_slices:
            call("nvmlGpuInstanceCreateComputeInstance", instance, profile_id)
            return
    raise NvmlNotSupported(f"GPU instance {gi_id}: the driver offers no compute instance of {compute_slices} slices")


def destroy(handle: Any, gi_id: int) -> None:
    """Destroy the GPU instance with its compute instances; does nothing when it's gone already."""
    try:
        instance = call("nvmlDeviceGetGpuInstanceById", handle, gi_id)
    except NvmlNotFound:
        return
    _destroy_compute(instance, _compute_instances(instance))
    call("nvmlGpuInstanceDestroy", instance)


def _destroy_compute(instance: Any, present: tuple[tuple[int, int], ...]) -> None:
    for ci_id in dict(present):
        with contextlib.suppress(NvmlNotFound):
            call("nvmlComputeInstanceDestroy", call("nvmlGpuInstanceGetComputeInstanceById", instance, ci_id))


def _compute_instances(instance: Any) -> tuple[tuple[int, int], ...]:
    found: dict[int, int] = {}
    for _number, profile_id, slices in _compute_profiles(instance):
        for compute in _listed("nvmlGpuInstanceGetComputeInstances", instance, profile_id, 8, binding().c_nvmlComputeInstance_t):
            found.setdefault(call("nvmlComputeInstanceGetInfo_v2", compute).id, slices)
    return tuple(sorted(found.items()))


def _compute_profiles(instance: Any) -> Iterator[tuple[int, int, int]]:
    """(number in nvml.h, profile id, compute slices) of each compute instance profile that the GPU instance offers."""
    for number in range(binding().NVML_COMPUTE_INSTANCE_PROFILE_COUNT):
        try:
            info = call("nvmlGpuInstanceGetComputeInstanceProfileInfo", instance, number, _SHARED_ENGINES)
        except NvmlNotSupported:
            continue
        yield number, int(info.id), int(info.sliceCount)


def _listed(function: str, parent: Any, profile_id: int, at_most: int, kind: Any) -> list[Any]:
    count = ctypes.c_uint(at_most)
    array = (kind * max(at_most, 1))()
    call(function, parent, profile_id, array, ctypes.byref(count))
    return [array[i] for i in range(count.value)]


def _places(handle: Any, profile_id: int) -> list[tuple[int, int]]:
    """(start, size) of every place that the driver has for the profile, taken or not."""
    count = ctypes.c_uint(0)
    call("nvmlDeviceGetGpuInstancePossiblePlacements", handle, profile_id, None, ctypes.byref(count))
    if count.value == 0:
        return []
    array = (binding().c_nvmlGpuInstancePlacement_t * count.value)()
    call("nvmlDeviceGetGpuInstancePossiblePlacements", handle, profile_id, array, ctypes.byref(count))
    places = [(int(array[i].start), int(array[i].size)) for i in range(count.value)]
    if len({place[1] for place in places}) != 1:
        raise NvmlError(f"profile {profile_id}: places of different sizes ({places}); this driver isn't understood")
    return places
