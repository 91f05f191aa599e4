# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""MIG from mode switch to destruction: what the driver refuses, what it leaves behind, and what a reboot takes away."""

from __future__ import annotations

import os
import subprocess
import sys
from ctypes import byref, c_uint

import pynvml
import pytest

from .conftest import MakeGpus
from .mig_calls import error, instances, make_instance, mig_devices

IN_USE = pynvml.NVML_ERROR_IN_USE
AMPERE, HOPPER = "a100-40gb", "h100-80gb"


def device(index: int = 0) -> object:
    return pynvml.nvmlDeviceGetHandleByIndex(index)


@pytest.mark.parametrize("model", [AMPERE, HOPPER])
def test_a_busy_gpu_keeps_its_mode_and_the_switch_stays_pending(make_gpus: MakeGpus, model: str) -> None:
    gpus = make_gpus([model])
    gpus.add_process(0, os.getpid())
    assert pynvml.nvmlDeviceSetMigMode(device(), 1) == IN_USE
    assert pynvml.nvmlDeviceGetMigMode(device()) == [0, 1]
    assert pynvml.nvmlDeviceSetMigMode(device(), 0) == pynvml.NVML_SUCCESS  # how it is taken back
    assert pynvml.nvmlDeviceGetMigMode(device()) == [0, 0]
    gpus.remove_process(os.getpid())
    assert pynvml.nvmlDeviceSetMigMode(device(), 1) == pynvml.NVML_SUCCESS
    assert pynvml.nvmlDeviceGetMigMode(device()) == [1, 1]


def test_a_client_that_is_in_no_list_keeps_the_gpu_busy_too(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([AMPERE])
    gpus.add_process(0, os.getpid(), kind="holder")
    assert pynvml.nvmlDeviceGetComputeRunningProcesses(device()) == []
    assert pynvml.nvmlDeviceSetMigMode(device(), 1) == IN_USE


def test_instances_keep_the_gpu_in_mig_mode(make_gpus: MakeGpus) -> None:
    make_gpus([HOPPER])
    pynvml.nvmlDeviceSetMigMode(device(), 1)
    make_instance(device(), 9)
    assert pynvml.nvmlDeviceSetMigMode(device(), 0) == IN_USE
    assert pynvml.nvmlDeviceGetMigMode(device()) == [1, 0]


def test_ampere_switches_by_a_reset_and_hopper_without(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([AMPERE, HOPPER])
    for index, resetless in ((0, 0), (1, 1)):
        field = pynvml.nvmlDeviceGetFieldValues(device(index), [pynvml.NVML_FI_DEV_IS_RESETLESS_MIG_SUPPORTED])[0]
        assert (field.nvmlReturn, field.value.uiVal) == (0, resetless)
        gpus.ecc_errors(index, corrected=3)
        assert pynvml.nvmlDeviceSetMigMode(device(index), 1) == pynvml.NVML_SUCCESS
    volatile = [pynvml.nvmlDeviceGetTotalEccErrors(device(i), 0, pynvml.NVML_VOLATILE_ECC) for i in (0, 1)]
    assert volatile == [0, 3]
    assert [gpus.gpu(i).number("resets") for i in (0, 1)] == [1, 0]


def test_where_no_reset_is_possible_ampere_says_so(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([AMPERE, HOPPER])
    for index, expected in ((0, pynvml.NVML_ERROR_RESET_REQUIRED), (1, pynvml.NVML_SUCCESS)):
        gpus.set(index, reset_blocked=1)
        assert pynvml.nvmlDeviceSetMigMode(device(index), 1) == expected
    assert pynvml.nvmlDeviceGetMigMode(device(0)) == [0, 1]


def test_destruction_goes_from_the_inside_out_and_not_below_a_process(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([AMPERE])
    pynvml.nvmlDeviceSetMigMode(device(), 1)
    gpu_instance, compute = make_instance(device(), 9, 4)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    gpus.add_process(0, child.pid, instance=(2, 0), memory_mib=2048)
    assert error(pynvml.nvmlComputeInstanceDestroy, compute) == IN_USE
    assert error(pynvml.nvmlGpuInstanceDestroy, gpu_instance) == IN_USE
    child.communicate(b"\n")
    pynvml.nvmlComputeInstanceDestroy(compute)
    assert mig_devices(device()) == []
    assert len(instances(device())) == 1, "without its compute instance the GPU instance is still there"
    pynvml.nvmlGpuInstanceDestroy(gpu_instance)
    assert instances(device()) == []
    assert error(pynvml.nvmlGpuInstanceDestroy, gpu_instance) == pynvml.NVML_ERROR_INVALID_ARGUMENT


def test_mig_device_says_what_it_is(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([AMPERE])
    pynvml.nvmlDeviceSetMigMode(device(), 1)
    make_instance(device(), 14, 2)
    gpus.add_process(0, os.getpid(), instance=(4, 0), memory_mib=1000)
    mig = mig_devices(device())[0]
    assert pynvml.nvmlDeviceGetName(mig) == "NVIDIA A100-PCIE-40GB MIG 2g.10gb"
    assert (pynvml.nvmlDeviceGetGpuInstanceId(mig), pynvml.nvmlDeviceGetComputeInstanceId(mig)) == (4, 0)
    assert pynvml.nvmlDeviceGetMemoryInfo(mig).total == 9856 << 20
    assert pynvml.nvmlDeviceGetMemoryInfo(mig, version=pynvml.nvmlMemory_v2).used == 1000 << 20
    attributes = pynvml.nvmlDeviceGetAttributes_v2(mig)
    assert (attributes.gpuInstanceSliceCount, attributes.computeInstanceSliceCount, attributes.multiprocessorCount) == (2, 2, 28)
    parent = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig)
    assert pynvml.nvmlDeviceGetUUID(parent) == pynvml.nvmlDeviceGetUUID(device())
    for uuid in (pynvml.nvmlDeviceGetUUID(mig), f"MIG-{pynvml.nvmlDeviceGetUUID(parent)}/4/0"):
        assert pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByUUID(uuid)) == pynvml.nvmlDeviceGetName(mig)
    for call in (pynvml.nvmlDeviceGetMinorNumber, pynvml.nvmlDeviceGetPowerUsage, pynvml.nvmlDeviceGetTotalEnergyConsumption):
        assert error(call, mig) == pynvml.NVML_ERROR_NOT_SUPPORTED
    for handle in (mig, parent):
        assert error(pynvml.nvmlDeviceGetUtilizationRates, handle) == pynvml.NVML_ERROR_NOT_SUPPORTED


def test_several_compute_instances_share_an_instance(make_gpus: MakeGpus) -> None:
    make_gpus([AMPERE])
    pynvml.nvmlDeviceSetMigMode(device(), 1)
    gpu_instance = pynvml.nvmlDeviceCreateGpuInstance(device(), 5)
    info = pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(gpu_instance, 1, 0)
    assert (info.sliceCount, info.instanceCount, info.name) == (2, 2, "MIG 2c.4g.20gb")
    assert error(pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo, gpu_instance, 2, 0) == pynvml.NVML_ERROR_NOT_SUPPORTED
    for _ in range(2):
        pynvml.nvmlGpuInstanceCreateComputeInstance(gpu_instance, 1)
    assert error(pynvml.nvmlGpuInstanceCreateComputeInstance, gpu_instance, 0) == pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES
    array, count = (pynvml.c_nvmlComputeInstance_t * 8)(), c_uint(8)
    pynvml.nvmlGpuInstanceGetComputeInstances(gpu_instance, 1, array, byref(count))
    infos = [pynvml.nvmlComputeInstanceGetInfo_v2(handle) for handle in array[: count.value]]
    assert [(i.id, i.profileId, i.placement.start, i.placement.size) for i in infos] == [(0, 1, 0, 2), (1, 1, 2, 2)]
    assert len({pynvml.nvmlDeviceGetUUID(m) for m in mig_devices(device())}) == 2


def test_reboot_takes_instances_and_on_hopper_the_mode(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([AMPERE, HOPPER])
    for index in (0, 1):
        pynvml.nvmlDeviceSetMigMode(device(index), 1)
        make_instance(device(index), 9)
        gpus.add_process(index, os.getpid(), instance=(2, 0))
    gpus.reboot()
    assert pynvml.nvmlDeviceGetMigMode(device(0)) == [1, 1]
    assert pynvml.nvmlDeviceGetMigMode(device(1)) == [0, 0]
    assert instances(device(0)) == []
    assert pynvml.nvmlDeviceGetComputeRunningProcesses(device(0)) == []
    assert pynvml.nvmlDeviceGetComputeRunningProcesses(device(1)) == []


def test_a_reboot_of_the_machine_is_noticed_by_the_library_alone(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([AMPERE, HOPPER])
    for index in (0, 1):
        pynvml.nvmlDeviceSetMigMode(device(index), 1)
    text = gpus.state_path.read_text()
    boot = gpus.state().system.fields["boot"]
    gpus.state_path.write_text(text.replace(boot, "00000000-aaaa-4000-8000-000000000000"))
    assert [pynvml.nvmlDeviceGetMigMode(device(i)) for i in (0, 1)] == [[1, 1], [0, 0]]
    assert gpus.state().system.fields["boot"] != boot, "a reader writes nothing"
    make_instance(device(0), 19)
    assert gpus.state().system.fields["boot"] == boot, "the first change writes it down"


def test_a_pending_mode_comes_into_force_with_the_reboot_on_ampere(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([AMPERE])
    gpus.add_process(0, os.getpid())
    assert pynvml.nvmlDeviceSetMigMode(device(), 1) == IN_USE
    gpus.reboot()
    assert pynvml.nvmlDeviceGetMigMode(device()) == [1, 1]


def test_mig_mode_ends_accounting(make_gpus: MakeGpus) -> None:
    make_gpus([AMPERE])
    pynvml.nvmlDeviceSetAccountingMode(device(), 1)
    pynvml.nvmlDeviceSetMigMode(device(), 1)
    assert pynvml.nvmlDeviceGetAccountingMode(device()) == 0
    assert error(pynvml.nvmlDeviceSetAccountingMode, device(), 1) == pynvml.NVML_ERROR_NOT_SUPPORTED


RACER = """
import sys
import pynvml
pynvml.nvmlInit()
device = pynvml.nvmlDeviceGetHandleByIndex(0)
made = 0
for round in range(150):
    try:
        instance = pynvml.nvmlDeviceCreateGpuInstance(device, 19)
    except pynvml.NVMLError_InsufficientResources:
        continue
    compute = pynvml.nvmlGpuInstanceCreateComputeInstance(instance, 0)
    made += 1
    pynvml.nvmlComputeInstanceDestroy(compute)
    pynvml.nvmlGpuInstanceDestroy(instance)
print(made)
"""


def test_eight_processes_create_and_destroy_at_once(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([AMPERE])
    pynvml.nvmlDeviceSetMigMode(device(), 1)
    environment = {**os.environ, **gpus.env}
    racers = [subprocess.Popen([sys.executable, "-c", RACER], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    made = [int(racer.communicate(timeout=120)[0]) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 8
    assert all(made), "everybody got instances"
    assert instances(device()) == []
    events = gpus.state().system.number("next_event") - 1
    assert events == 1 + 4 * sum(made), "each change was written exactly once"
