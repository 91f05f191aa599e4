# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What NVML measures and reports on simulated GPUs, and the faults that can be put into them."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pynvml
import pytest

from tests.simulated_gpu import SOURCE, simulated_gpus

from .conftest import MakeGpus
from .mig_calls import error, make_instance, mig_devices

A100, H100 = "a100-40gb", "h100-80gb"
NOBODY = 65534


def device(index: int = 0) -> object:
    return pynvml.nvmlDeviceGetHandleByIndex(index)


def test_the_driver_says_that_it_is_simulated(make_gpus: MakeGpus) -> None:
    make_gpus([A100])
    assert pynvml.nvmlSystemGetDriverVersion() == "580.65.06-sim"
    assert pynvml.nvmlDeviceGetName(device()) == "NVIDIA A100-PCIE-40GB"


def test_identity_of_each_gpu(make_gpus: MakeGpus) -> None:
    make_gpus([A100, H100, "h200-141gb"])
    assert pynvml.nvmlDeviceGetCount() == 3
    uuids = [pynvml.nvmlDeviceGetUUID(device(i)) for i in range(3)]
    assert len(set(uuids)) == 3
    for index, uuid in enumerate(uuids):
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        assert (pynvml.nvmlDeviceGetIndex(handle), pynvml.nvmlDeviceGetMinorNumber(handle)) == (index, index)
        pci = pynvml.nvmlDeviceGetPciInfo(handle)
        assert pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByPciBusId(pci.busId)) == uuid
    assert pynvml.nvmlDeviceGetCudaComputeCapability(device(1)) == (9, 0)
    assert error(pynvml.nvmlDeviceGetHandleByIndex, 3) == pynvml.NVML_ERROR_INVALID_ARGUMENT
    assert error(pynvml.nvmlDeviceGetHandleByUUID, "GPU-none") == pynvml.NVML_ERROR_NOT_FOUND


def test_processes_are_listed_by_kind_and_only_while_they_live(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([A100])
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    gpus.add_process(0, os.getpid(), memory_mib=1000)
    gpus.add_process(0, child.pid, memory_mib=500, kind="mps")
    assert [(p.pid, p.usedGpuMemory) for p in pynvml.nvmlDeviceGetComputeRunningProcesses(device())] == [(os.getpid(), 1000 << 20)]
    assert [p.pid for p in pynvml.nvmlDeviceGetMPSComputeRunningProcesses(device())] == [child.pid]
    assert pynvml.nvmlDeviceGetGraphicsRunningProcesses(device()) == []
    assert pynvml.nvmlDeviceGetMemoryInfo(device(), version=pynvml.nvmlMemory_v2).used == 1500 << 20
    child.communicate(b"\n")
    assert pynvml.nvmlDeviceGetMPSComputeRunningProcesses(device()) == []
    assert pynvml.nvmlDeviceGetMemoryInfo(device(), version=pynvml.nvmlMemory_v2).used == 1000 << 20


def test_another_process_with_the_same_number_is_not_taken_for_it(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([A100])
    gpus.add_process(0, os.getpid())
    text = gpus.state_path.read_text()
    started = next(gpus.state().of_kind("proc")).fields["started"]
    gpus.state_path.write_text(text.replace(f"started={started}", f"started={int(started) + 1}"))
    assert pynvml.nvmlDeviceGetComputeRunningProcesses(device()) == []


def test_views_of_processes_under_mig(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([A100])
    pynvml.nvmlDeviceSetMigMode(device(), 1)
    make_instance(device(), 9, 0)
    make_instance(device(), 9, 4)
    gpus.add_process(0, os.getpid(), instance=(2, 0))
    everybody = pynvml.nvmlDeviceGetComputeRunningProcesses(device())
    assert [(p.pid, p.gpuInstanceId, p.computeInstanceId) for p in everybody] == [(os.getpid(), 2, 0)]
    by_instance = {pynvml.nvmlDeviceGetGpuInstanceId(m): pynvml.nvmlDeviceGetComputeRunningProcesses(m) for m in mig_devices(device())}
    assert by_instance[1] == []
    assert [p.pid for p in by_instance[2]] == [os.getpid()]


def test_utilisation_of_processes(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([A100])
    assert error(pynvml.nvmlDeviceGetProcessUtilization, device(), 0) == pynvml.NVML_ERROR_NOT_FOUND
    gpus.add_process(0, os.getpid(), sm_util=37)
    samples = pynvml.nvmlDeviceGetProcessUtilization(device(), 0)
    assert [(s.pid, s.smUtil) for s in samples] == [(os.getpid(), 37)]
    infos = pynvml.nvmlDeviceGetProcessesUtilizationInfo(device(), 0)
    assert [(s.pid, s.smUtil) for s in infos] == [(os.getpid(), 37)]
    assert error(pynvml.nvmlDeviceGetProcessUtilization, device(), samples[0].timeStamp + 10**12) == pynvml.NVML_ERROR_NOT_FOUND


def test_accounting_remembers_who_has_left(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([A100])
    assert error(pynvml.nvmlDeviceGetAccountingPids, device()) == pynvml.NVML_ERROR_NOT_SUPPORTED
    pynvml.nvmlDeviceSetAccountingMode(device(), 1)
    gpus.add_process(0, os.getpid(), memory_mib=64, sm_util=20)
    assert pynvml.nvmlDeviceGetAccountingStats(device(), os.getpid()).isRunning == 1
    gpus.remove_process(os.getpid())
    assert pynvml.nvmlDeviceGetAccountingPids(device()) == [os.getpid()]
    stats = pynvml.nvmlDeviceGetAccountingStats(device(), os.getpid())
    assert (stats.isRunning, stats.gpuUtilization, stats.maxMemoryUsage) == (0, 20, 64 << 20)


def test_energy_is_power_over_time_across_changes_of_power(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([A100])
    gpus.set(0, power_mw=0)
    before = pynvml.nvmlDeviceGetTotalEnergyConsumption(device())
    assert pynvml.nvmlDeviceGetTotalEnergyConsumption(device()) == before, "no power, no energy"
    began = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    gpus.set(0, power_mw=250_000)
    assert pynvml.nvmlDeviceGetPowerUsage(device()) == 250_000
    threading.Event().wait(0.2)
    gpus.set(0, power_mw=0)
    ended = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    used = pynvml.nvmlDeviceGetTotalEnergyConsumption(device()) - before
    assert 250 * 200 <= used <= 250 * (ended - began) / 1e6 + 250  # mJ = W * ms, and one tick of the clock


def test_values_that_are_set_are_the_values_that_are_read(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([A100])
    gpus.set(0, util=80, mem_util=30, temperature=71, throttle=0x24, remapped_uncorrected=2, remap_pending=1)
    rates = pynvml.nvmlDeviceGetUtilizationRates(device())
    assert (rates.gpu, rates.memory) == (80, 30)
    assert pynvml.nvmlDeviceGetTemperature(device(), pynvml.NVML_TEMPERATURE_GPU) == 71
    assert pynvml.nvmlDeviceGetTemperatureV(device(), pynvml.NVML_TEMPERATURE_GPU) == 71
    assert pynvml.nvmlDeviceGetCurrentClocksEventReasons(device()) == 0x24
    assert pynvml.nvmlDeviceGetRemappedRows(device()) == (0, 2, 1, 0)
    assert pynvml.nvmlDeviceGetClockInfo(device(), pynvml.NVML_CLOCK_SM) == 705, "slowed down by heat"


def test_ecc_errors_count_in_both_counters_until_they_are_cleared(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([A100])
    gpus.ecc_errors(0, corrected=5, uncorrected=1)
    counts = [pynvml.nvmlDeviceGetTotalEccErrors(device(), error_type, counter) for error_type in (0, 1) for counter in (0, 1)]
    assert counts == [5, 5, 1, 1]
    pynvml.nvmlDeviceClearEccErrorCounts(device(), pynvml.NVML_VOLATILE_ECC)
    counts = [pynvml.nvmlDeviceGetTotalEccErrors(device(), error_type, counter) for error_type in (0, 1) for counter in (0, 1)]
    assert counts == [0, 5, 0, 1]


def test_gpm_has_utilisation_of_instances_on_hopper_only(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([A100, H100])
    assert [pynvml.nvmlGpmQueryDeviceSupport(device(i)).isSupportedDevice for i in (0, 1)] == [0, 1]
    pynvml.nvmlDeviceSetMigMode(device(1), 1)
    make_instance(device(1), 9, 4)
    gpus.set_instance_util(1, 2, 64)
    samples = [pynvml.nvmlGpmSampleAlloc() for _ in range(2)]
    for sample in samples:
        pynvml.nvmlGpmMigSampleGet(device(1), 2, sample)
    request = pynvml.c_nvmlGpmMetricsGet_t(version=1, numMetrics=2, sample1=samples[0], sample2=samples[1])
    request.metrics[0].metricId = pynvml.NVML_GPM_METRIC_SM_UTIL
    request.metrics[1].metricId = pynvml.NVML_GPM_METRIC_NVLINK_L0_RX_PER_SEC
    pynvml.nvmlGpmMetricsGet(request)
    assert (request.metrics[0].nvmlReturn, request.metrics[0].value) == (0, 64.0)
    assert request.metrics[1].nvmlReturn == pynvml.NVML_ERROR_NOT_SUPPORTED
    assert error(pynvml.nvmlGpmSampleGet, device(0), samples[0]) == pynvml.NVML_ERROR_NOT_SUPPORTED
    for sample in samples:
        pynvml.nvmlGpmSampleFree(sample)


def test_an_xid_wakes_who_waits_for_it(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([A100, A100])
    events = pynvml.nvmlEventSetCreate()
    for index in (0, 1):
        pynvml.nvmlDeviceRegisterEvents(device(index), pynvml.nvmlEventTypeXidCriticalError, events)
    assert error(pynvml.nvmlEventSetWait_v2, events, 0) == pynvml.NVML_ERROR_TIMEOUT
    seen: list[pynvml.c_nvmlEventData_t] = []
    waiter = threading.Thread(target=lambda: seen.append(pynvml.nvmlEventSetWait_v2(events, 30_000)))
    waiter.start()
    gpus.ecc_errors(1, uncorrected=1)  # another kind: not for this set
    gpus.xid(1, 63)
    waiter.join(timeout=10)
    assert not waiter.is_alive()
    event = seen[0]
    assert (event.eventType, event.eventData, event.gpuInstanceId) == (pynvml.nvmlEventTypeXidCriticalError, 63, 0xFFFFFFFF)
    assert pynvml.nvmlDeviceGetIndex(event.device) == 1
    assert error(pynvml.nvmlEventSetWait_v2, events, 0) == pynvml.NVML_ERROR_TIMEOUT, "each event comes once"
    pynvml.nvmlEventSetFree(events)


def test_changes_of_the_mig_configuration_are_events(make_gpus: MakeGpus) -> None:
    make_gpus([A100])
    events = pynvml.nvmlEventSetCreate()
    pynvml.nvmlDeviceRegisterEvents(device(), pynvml.nvmlEventMigConfigChange, events)
    pynvml.nvmlDeviceSetMigMode(device(), 1)
    assert pynvml.nvmlEventSetWait_v2(events, 1000).eventType == pynvml.nvmlEventMigConfigChange
    pynvml.nvmlEventSetFree(events)


def test_a_lost_gpu_is_lost_to_every_call_and_the_others_are_not(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([A100, A100])
    lost = device(0)
    gpus.lose(0)
    for call in (pynvml.nvmlDeviceGetUUID, pynvml.nvmlDeviceGetMemoryInfo, pynvml.nvmlDeviceGetMigMode):
        assert error(call, lost) == pynvml.NVML_ERROR_GPU_IS_LOST
    assert error(pynvml.nvmlDeviceGetHandleByIndex, 0) == pynvml.NVML_ERROR_GPU_IS_LOST
    assert pynvml.nvmlDeviceGetCount() == 2
    assert pynvml.nvmlDeviceGetUUID(device(1))
    gpus.restore(0)
    assert pynvml.nvmlDeviceGetUUID(lost)


def test_latency_is_felt(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([A100])
    gpus.latency(0.05)
    began = time.monotonic()
    pynvml.nvmlDeviceGetCount()
    assert time.monotonic() - began >= 0.05


def test_a_hanging_driver_holds_every_call_until_it_answers_again(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([A100])
    gpus.hang()
    caller = threading.Thread(target=pynvml.nvmlDeviceGetCount)
    caller.start()
    caller.join(timeout=0.3)
    assert caller.is_alive()
    gpus.hang(False)
    caller.join(timeout=10)
    assert not caller.is_alive()


NOBODYS_CALLS = """
import pynvml
pynvml.nvmlInit()
device = pynvml.nvmlDeviceGetHandleByIndex(0)
print(pynvml.nvmlDeviceGetMemoryInfo(device).total > 0)
for call in (lambda: pynvml.nvmlDeviceSetMigMode(device, 0), lambda: pynvml.nvmlDeviceCreateGpuInstance(device, 9),
             lambda: pynvml.nvmlDeviceGetGpuInstanceRemainingCapacity(device, 9), lambda: pynvml.nvmlDeviceSetPersistenceMode(device, 1),
             lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(device)):
    try:
        call()
        print("allowed")
    except pynvml.NVMLError_NoPermission:
        print("refused")
"""


def test_others_than_root_may_look_and_not_touch() -> None:
    if os.geteuid() != 0:
        pytest.fail("needs root, to act as another user")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        gpus = simulated_gpus(Path(name), [A100])
        prepared = gpus.run_python("import pynvml as n; n.nvmlInit(); n.nvmlDeviceSetMigMode(n.nvmlDeviceGetHandleByIndex(0), 1)")
        assert prepared.returncode == 0, prepared.stderr
        done = gpus.run_python(NOBODYS_CALLS, uid=NOBODY)
    assert done.stdout.split() == ["True", *["refused"] * 5], done.stderr


def test_nothing_works_without_init_or_without_a_state(make_gpus: MakeGpus, monkeypatch: pytest.MonkeyPatch) -> None:
    make_gpus([A100])
    pynvml.nvmlShutdown()
    assert error(pynvml.nvmlDeviceGetCount) == pynvml.NVML_ERROR_UNINITIALIZED
    state = os.environ["DS01SIM_STATE"]
    monkeypatch.setenv("DS01SIM_STATE", "/nowhere/state")
    assert error(pynvml.nvmlInit) == pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    monkeypatch.setenv("DS01SIM_STATE", state)
    pynvml.nvmlInit()


def test_every_entry_point_that_pynvml_knows_is_there_and_answers(make_gpus: MakeGpus) -> None:
    gpus = make_gpus([A100])
    library = ctypes.CDLL(str(gpus.library))
    names = [line for line in (SOURCE / "entry_points.txt").read_text().split("\n") if line and not line.startswith("#")]
    assert len(names) > 400
    for name in names:
        assert hasattr(library, name), name
    assert error(pynvml.nvmlDeviceGetNvLinkState, device(), 0) == pynvml.NVML_ERROR_NOT_SUPPORTED
    assert error(pynvml.nvmlDeviceGetFanSpeed, device()) == pynvml.NVML_ERROR_NOT_SUPPORTED
