# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The command ds01-gpusim, and programs that know nothing of it: gpustat."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pynvml
import pytest
from ds01_gpusim.__main__ import main

from tests.simulated_gpu import SimulatedGpus, simulated_gpus

from .conftest import MakeGpus
from .mig_calls import make_instance


@pytest.fixture
def gpus(tmp_path: Path) -> SimulatedGpus:
    return simulated_gpus(tmp_path, ["a100-40gb", "h100-80gb"])


def answer(done: subprocess.CompletedProcess[str]) -> object:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_gpustat_runs_unmodified(gpus: SimulatedGpus) -> None:
    gpus.set(0, util=42, temperature=61)
    gpus.add_process(0, os.getpid(), memory_mib=2048)
    command = [sys.executable, "-m", "gpustat", "--json"]
    done = subprocess.run(command, env={**os.environ, **gpus.env}, capture_output=True, text=True, check=False, timeout=60)
    report = answer(done)
    assert isinstance(report, dict)
    assert report["driver_version"] == "580.65.06-sim"
    first = report["gpus"][0]
    assert (first["name"], first["utilization.gpu"], first["temperature.gpu"]) == ("NVIDIA A100-PCIE-40GB", 42, 61)
    assert first["memory.used"] == 2048
    assert [(p["pid"], p["gpu_memory_usage"]) for p in first["processes"]] == [(os.getpid(), 2048)]
    assert report["gpus"][1]["processes"] == []


def test_init_makes_what_was_asked_for(gpus: SimulatedGpus) -> None:
    arguments = ("init", "--model", "h200-141gb", "--count", "3", "--model", "a100-80gb")
    assert gpus.run_command(*arguments).returncode == 0
    listed = answer(gpus.run_command("list", "--json"))
    assert isinstance(listed, dict)
    assert listed["simulated"] is True
    assert [g["model"] for g in listed["gpus"]] == ["h200-141gb"] * 3 + ["a100-80gb"] * 3
    lines = gpus.state_path.with_name("mig-minors").read_text().splitlines()
    assert lines[:4] == ["config 1", "monitor 2", "gpu0/gi0/access 3", "gpu0/gi0/ci0/access 4"]
    assert "gpu0/gi1/access 12" in lines
    assert "gpu1/gi0/access 138" in lines


def test_what_the_command_sets_nvml_reads(make_gpus: MakeGpus) -> None:
    gpus = make_gpus(["a100-40gb"])
    device = pynvml.nvmlDeviceGetHandleByIndex(0)
    done = gpus.run_command(
        "set", "--gpu", "0", "--util", "80", "--power", "240", "--temperature", "71", "--throttle", "sw-thermal,power-cap"
    )
    assert done.returncode == 0, done.stderr
    assert pynvml.nvmlDeviceGetUtilizationRates(device).gpu == 80
    assert pynvml.nvmlDeviceGetPowerUsage(device) == 240_000
    assert pynvml.nvmlDeviceGetCurrentClocksEventReasons(device) == 0x24
    done = gpus.run_command("add-process", "--gpu", "0", "--pid", str(os.getpid()), "--memory", "4GiB", "--util", "10")
    assert done.returncode == 0, done.stderr
    assert [p.usedGpuMemory for p in pynvml.nvmlDeviceGetComputeRunningProcesses(device)] == [4 << 30]
    gpus.run_command("remove-process", "--pid", str(os.getpid()))
    assert pynvml.nvmlDeviceGetComputeRunningProcesses(device) == []
    gpus.run_command("ecc", "--gpu", "0", "--uncorrected", "2")
    assert pynvml.nvmlDeviceGetTotalEccErrors(device, 1, 1) == 2
    gpus.run_command("lose", "--gpu", "0")
    with pytest.raises(pynvml.NVMLError_GpuIsLost):
        pynvml.nvmlDeviceGetUUID(device)
    gpus.run_command("recover", "--gpu", "0")
    assert pynvml.nvmlDeviceGetUUID(device)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["set", "--gpu", "7", "--util", "1"], 1, "no GPU 7: there are 0, 1"),
        (["set", "--gpu", "0", "--util", "101"], 2, "0 to 100"),
        (["set", "--gpu", "0", "--throttle", "cold"], 2, "'cold' is none of"),
        (["set", "--gpu", "0", "--instance", "2"], 1, "--instance needs --util"),
        (["add-process", "--gpu", "0", "--pid", "999999999"], 1, "process 999999999 does not exist"),
        (["add-process", "--gpu", "0", "--pid", "1", "--instance", "2/0"], 1, "no instance 2/0"),
        (["add-process", "--gpu", "0", "--pid", "1", "--memory", "4XB"], 2, "not a size"),
        (["remove-process", "--pid", "1"], 1, "process 1 uses no simulated GPU"),
        (["init", "--model", "rtx"], 2, "invalid choice"),
        (["init", "--model", "a100-40gb", "--count", "17"], 1, "can be 1 to 16"),
        (["--state", "/nowhere/state", "list"], 1, "no simulated GPUs here"),
        ([], 2, "COMMAND"),
    ],
)
def test_mistakes_are_refused_with_what_would_be_right(
    gpus: SimulatedGpus, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, words: str
) -> None:
    before = gpus.state_path.read_text()
    try:
        code = main(["--state", str(gpus.state_path), "--library", str(gpus.library), *arguments])
    except SystemExit as usage:
        code = usage.code
    assert (code, gpus.state_path.read_text()) == (status, before)
    assert words in capsys.readouterr().err


def test_a_gpu_in_mig_mode_needs_the_instance_of_a_process(make_gpus: MakeGpus) -> None:
    gpus = make_gpus(["a100-40gb"])
    pynvml.nvmlDeviceSetMigMode(pynvml.nvmlDeviceGetHandleByIndex(0), 1)
    done = gpus.run_command("add-process", "--gpu", "0", "--pid", str(os.getpid()))
    assert (done.returncode, "MIG mode" in done.stderr) == (1, True)


def test_cdi_spec_names_what_can_be_given_to_a_container(make_gpus: MakeGpus) -> None:
    gpus = make_gpus(["a100-40gb", "a100-40gb", "h100-80gb"])
    device = pynvml.nvmlDeviceGetHandleByIndex(1)
    pynvml.nvmlDeviceSetMigMode(device, 1)
    make_instance(device, 9, 4)
    gpus.lose(2)
    spec = answer(gpus.run_command("cdi"))
    assert isinstance(spec, dict)
    assert spec["kind"] == "nvidia.com/gpu"
    mig_uuid = pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(device, 0))
    nodes = {d["name"]: [(n["path"], n["major"], n["minor"]) for n in d["containerEdits"]["deviceNodes"]] for d in spec["devices"]}
    assert nodes == {
        pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(0)): [("/dev/nvidia0", 195, 0)],
        mig_uuid: [
            ("/dev/nvidia1", 195, 1),
            ("/dev/nvidia-caps/nvidia-cap156", 508, 156),  # 3 + 135 * 1 + 9 * 2
            ("/dev/nvidia-caps/nvidia-cap157", 508, 157),
        ],
    }
    edits = spec["containerEdits"]
    assert [n["path"] for n in edits["deviceNodes"]] == ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"]
    assert edits["env"] == ["NVIDIA_VISIBLE_DEVICES=void"]
    assert all("ro" in mount["options"] and Path(mount["hostPath"]).exists() for mount in edits["mounts"])
    assert {m["containerPath"]: m["hostPath"] for m in edits["mounts"]}["/run/ds01-gpusim"] == str(gpus.state_path.parent)
