# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The simulated GPUs have the geometry of the real ones: profiles, placements, ids, and which combinations fit."""

from __future__ import annotations

import itertools
from ctypes import byref
from functools import cache

import pynvml
import pytest

from .conftest import MakeGpus
from .mig_calls import error, instances, make_instance, placements, profiles

# profile id: compute slices, possible starts, memory slices, most at once (nvidia-smi mig -lgip and -lgipp; one geometry for all models)
GEOMETRY = {
    19: (1, [0, 1, 2, 3, 4, 5, 6], 1, 7),
    20: (1, [0, 1, 2, 3, 4, 5, 6], 1, 1),
    15: (1, [0, 2, 4, 6], 2, 4),
    14: (2, [0, 2, 4], 2, 3),
    9: (3, [0, 4], 4, 2),
    5: (4, [0], 4, 1),
    0: (7, [0], 8, 1),
}

# model: profile names in the order of GEOMETRY, multiprocessors likewise
MODELS = {
    "a100-40gb": ("1g.5gb 1g.5gb+me 1g.10gb 2g.10gb 3g.20gb 4g.20gb 7g.40gb", [14, 14, 14, 28, 42, 56, 98]),
    "a100-80gb": ("1g.10gb 1g.10gb+me 1g.20gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb", [14, 14, 14, 28, 42, 56, 98]),
    "h100-80gb": ("1g.10gb 1g.10gb+me 1g.20gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb", [16, 16, 26, 32, 60, 64, 132]),
    "h200-141gb": ("1g.18gb 1g.18gb+me 1g.35gb 2g.35gb 3g.71gb 4g.71gb 7g.141gb", [16, 16, 26, 32, 60, 64, 132]),
}


@pytest.mark.parametrize("model", MODELS)
def test_profiles_are_those_of_the_model(make_gpus: MakeGpus, model: str) -> None:
    make_gpus([model])
    device = pynvml.nvmlDeviceGetHandleByIndex(0)
    names, multiprocessors = MODELS[model]
    found = profiles(device)
    assert sorted(found) == sorted(GEOMETRY)
    for (profile_id, (slices, starts, size, most)), name, count in zip(GEOMETRY.items(), names.split(), multiprocessors, strict=True):
        info = found[profile_id]
        assert (info.name, info.sliceCount, info.instanceCount, info.multiprocessorCount) == (f"MIG {name}", slices, most, count)
        assert placements(device, profile_id) == [(start, size) for start in starts]


@pytest.mark.parametrize("version", [1, 2])
def test_versions_of_the_profile_structure_agree(make_gpus: MakeGpus, version: int) -> None:
    make_gpus(["h200-141gb"])
    info = pynvml.nvmlDeviceGetGpuInstanceProfileInfo(
        pynvml.nvmlDeviceGetHandleByIndex(0), pynvml.NVML_GPU_INSTANCE_PROFILE_3_SLICE, version
    )
    assert (info.id, info.sliceCount, info.instanceCount, info.multiprocessorCount, info.memorySizeMB) == (9, 3, 2, 60, 71168)


@pytest.mark.parametrize(
    ("profile_id", "start", "gi"),
    [(0, 0, 0), (5, 0, 1), (9, 0, 1), (9, 4, 2), (14, 0, 3), (14, 2, 4), (14, 4, 5), (15, 6, 6), (19, 0, 7), (19, 6, 13), (20, 3, 10)],
)
def test_instance_id_follows_from_the_place(make_gpus: MakeGpus, profile_id: int, start: int, gi: int) -> None:
    make_gpus(["a100-40gb"])
    device = pynvml.nvmlDeviceGetHandleByIndex(0)
    pynvml.nvmlDeviceSetMigMode(device, 1)
    make_instance(device, profile_id, start)
    assert instances(device) == [(gi, profile_id, start)]


def fits(chosen: tuple[int, ...]) -> bool:
    """Whether placements without overlap exist, by trying all."""

    @cache
    def place(rest: tuple[int, ...], used: int) -> bool:
        if not rest:
            return True
        _, starts, size, _ = GEOMETRY[rest[0]]
        return any(not used & ((1 << size) - 1) << s and place(rest[1:], used | ((1 << size) - 1) << s) for s in starts)

    return place(chosen, 0)


def driver_accepts(device: object, chosen: tuple[int, ...]) -> bool:
    """Whether some order and placement is accepted: depth-first over explicit placements."""
    if not chosen:
        return True
    for start, _ in placements(device, chosen[0]):
        try:
            gpu_instance, compute = make_instance(device, chosen[0], start)
        except pynvml.NVMLError_InsufficientResources:
            continue
        accepted = driver_accepts(device, chosen[1:])
        pynvml.nvmlComputeInstanceDestroy(compute)
        pynvml.nvmlGpuInstanceDestroy(gpu_instance)
        if accepted:
            return True
    return False


@pytest.mark.parametrize("count", [2, 3])
def test_what_fits_is_what_has_placements_without_overlap(make_gpus: MakeGpus, count: int) -> None:
    make_gpus(["a100-40gb"])
    device = pynvml.nvmlDeviceGetHandleByIndex(0)
    pynvml.nvmlDeviceSetMigMode(device, 1)
    for chosen in itertools.combinations_with_replacement([0, 5, 9, 14, 15], count):
        assert driver_accepts(device, chosen) == fits(chosen), chosen


def test_capacity_counts_down_as_instances_are_made(make_gpus: MakeGpus) -> None:
    make_gpus(["a100-40gb"])
    device = pynvml.nvmlDeviceGetHandleByIndex(0)
    assert error(pynvml.nvmlDeviceGetGpuInstanceRemainingCapacity, device, 19) == pynvml.NVML_ERROR_NOT_SUPPORTED
    pynvml.nvmlDeviceSetMigMode(device, 1)
    capacity = {p: pynvml.nvmlDeviceGetGpuInstanceRemainingCapacity(device, p) for p in GEOMETRY}
    assert capacity == {p: most for p, (_, _, _, most) in GEOMETRY.items()}
    make_instance(device, 9, 4)
    capacity = {p: pynvml.nvmlDeviceGetGpuInstanceRemainingCapacity(device, p) for p in GEOMETRY}
    assert capacity == {19: 4, 20: 1, 15: 2, 14: 2, 9: 1, 5: 1, 0: 0}


def test_seven_small_instances_fit_and_the_eighth_does_not(make_gpus: MakeGpus) -> None:
    make_gpus(["h100-80gb"])
    device = pynvml.nvmlDeviceGetHandleByIndex(0)
    pynvml.nvmlDeviceSetMigMode(device, 1)
    for _ in range(7):
        make_instance(device, 19)
    assert error(pynvml.nvmlDeviceCreateGpuInstance, device, 19) == pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES
    assert [start for _, _, start in instances(device)] == list(range(7))


def test_a_placement_that_the_profile_does_not_have_is_refused(make_gpus: MakeGpus) -> None:
    make_gpus(["a100-40gb"])
    device = pynvml.nvmlDeviceGetHandleByIndex(0)
    pynvml.nvmlDeviceSetMigMode(device, 1)
    for start, size in [(2, 4), (4, 2), (8, 4)]:
        where = pynvml.c_nvmlGpuInstancePlacement_t(start, size)
        assert error(pynvml.nvmlDeviceCreateGpuInstanceWithPlacement, device, 9, byref(where)) == pynvml.NVML_ERROR_INVALID_ARGUMENT


def test_uuid_comes_back_in_the_same_place_and_differs_elsewhere(make_gpus: MakeGpus) -> None:
    make_gpus(["a100-40gb", "a100-40gb"])
    seen = set()
    for index in (0, 1):
        device = pynvml.nvmlDeviceGetHandleByIndex(index)
        pynvml.nvmlDeviceSetMigMode(device, 1)
        for profile_id, start in [(9, 0), (9, 4), (14, 2), (19, 6)]:
            found = []
            for _ in range(2):
                gpu_instance, compute = make_instance(device, profile_id, start)
                found.append(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(device, 0)))
                pynvml.nvmlComputeInstanceDestroy(compute)
                pynvml.nvmlGpuInstanceDestroy(gpu_instance)
            assert found[0] == found[1]
            assert found[0] not in seen
            seen.add(found[0])
