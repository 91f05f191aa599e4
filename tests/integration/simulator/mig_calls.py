# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""MIG through pynvml in few words: the calls that take two steps or an array."""

from __future__ import annotations

from ctypes import byref, c_uint
from typing import Any

import pynvml

# Compute slices to the number of the compute instance profile.
COMPUTE_PROFILE = {1: 0, 2: 1, 3: 2, 4: 3, 7: 4}


def error(call: Any, *arguments: Any) -> int:
    """The NVML error number of a call that fails; a failure of the test where it does not."""
    try:
        call(*arguments)
    except pynvml.NVMLError as raised:
        return int(raised.value)
    raise AssertionError(f"{call.__name__} succeeded")


def placements(device: Any, profile_id: int) -> list[tuple[int, int]]:
    """(start, size) of every possible placement."""
    count = c_uint()
    pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(device, profile_id, None, byref(count))
    array = (pynvml.c_nvmlGpuInstancePlacement_t * count.value)()
    pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(device, profile_id, array, byref(count))
    return [(p.start, p.size) for p in array]


def profiles(device: Any) -> dict[int, Any]:
    """Profile information by profile id."""
    found = {}
    for number in range(pynvml.NVML_GPU_INSTANCE_PROFILE_COUNT):
        try:
            info = pynvml.nvmlDeviceGetGpuInstanceProfileInfo(device, number)
        except pynvml.NVMLError_NotSupported:
            continue
        found[info.id] = info
    return found


def make_instance(device: Any, profile_id: int, start: int | None = None) -> tuple[Any, Any]:
    """A GPU instance with one compute instance of its full size."""
    info = profiles(device)[profile_id]
    if start is None:
        gpu_instance = pynvml.nvmlDeviceCreateGpuInstance(device, profile_id)
    else:
        where = pynvml.c_nvmlGpuInstancePlacement_t(start, placements(device, profile_id)[0][1])
        gpu_instance = pynvml.nvmlDeviceCreateGpuInstanceWithPlacement(device, profile_id, byref(where))
    return gpu_instance, pynvml.nvmlGpuInstanceCreateComputeInstance(gpu_instance, COMPUTE_PROFILE[info.sliceCount])


def instances(device: Any) -> list[tuple[int, int, int]]:
    """(GPU instance id, profile id, start) of every GPU instance."""
    found = []
    for profile_id in profiles(device):
        array, count = (pynvml.c_nvmlGpuInstance_t * 8)(), c_uint(8)
        pynvml.nvmlDeviceGetGpuInstances(device, profile_id, array, byref(count))
        for handle in array[: count.value]:
            info = pynvml.nvmlGpuInstanceGetInfo(handle)
            found.append((info.id, info.profileId, info.placement.start))
    return sorted(found)


def mig_devices(device: Any) -> list[Any]:
    """Handles of all MIG devices."""
    found = []
    for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(device)):
        try:
            found.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(device, index))
        except pynvml.NVMLError_NotFound:
            break
    return found
