# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Where device nodes are in force they decide who sees what, and a boot brings everything back. Run in a /dev of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.simulated_gpu import ROOT, SimulatedGpus, simulated_gpus

# Prints one JSON value a line. `command` runs ds01-gpusim in this process.
PRELUDE = """
import ctypes, json, os, stat, sys
sys.path[:0] = [{files!r}, {root!r}]
import pynvml
from ds01_gpusim.__main__ import main
from tests.integration.simulator.mig_calls import error, instances, make_instance, mig_devices
ctypes.CDLL({library!r})

def command(*arguments):
    out, sys.stdout = sys.stdout, open("/dev/null", "w")
    try:
        assert main(list(arguments)) == 0
    finally:
        sys.stdout = out

def tell(value):
    print(json.dumps(value))

def nodes():
    found = {{}}
    for where in ("/dev", "/dev/nvidia-caps"):
        for name in os.listdir(where):
            status = os.lstat(os.path.join(where, name))
            if name.startswith("nvidia") and stat.S_ISCHR(status.st_mode):
                found[name] = [os.major(status.st_rdev), os.minor(status.st_rdev), oct(stat.S_IMODE(status.st_mode))]
    return found
"""

NAMESPACE = """
mount -t tmpfs tmpfs {dev}
for node in null zero urandom; do cp -a /dev/$node {dev}/; done
mount --bind {dev} /dev
exec "$@"
"""


@pytest.fixture
def gpus(tmp_path: Path) -> SimulatedGpus:
    if os.geteuid() != 0:
        pytest.fail("these tests make device nodes: run them as root")
    return simulated_gpus(tmp_path, ["a100-40gb", "h100-80gb"])


def run_in_own_dev(gpus: SimulatedGpus, tmp_path: Path, script: str) -> list[Any]:
    """What the script tells, run with a /dev that has no nvidia nodes at first."""
    dev = tmp_path / "dev"
    dev.mkdir()
    prelude = PRELUDE.format(files=str(ROOT / "files"), root=str(ROOT), library=str(gpus.library))
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", NAMESPACE.format(dev=dev), "sh"]
    done = subprocess.run(
        [*shell, sys.executable, "-c", prelude + script],
        env={**os.environ, **gpus.env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_nodes_have_the_numbers_and_modes_of_the_real_ones(gpus: SimulatedGpus, tmp_path: Path) -> None:
    (nodes,) = run_in_own_dev(gpus, tmp_path, "command('device-nodes')\ntell(nodes())")
    table = dict(reversed(line.split()) for line in gpus.state_path.with_name("devices").read_text().splitlines()[1:])
    uvm, caps = int(table["nvidia-uvm"]), int(table["nvidia-caps"])
    taken = [line.split()[0] for line in Path("/proc/devices").read_text().split("Block")[0].splitlines()[1:] if line]
    assert not {str(uvm), str(caps)} & set(taken)
    assert nodes == {
        "nvidia0": [195, 0, "0o666"],
        "nvidia1": [195, 1, "0o666"],
        "nvidiactl": [195, 255, "0o666"],
        "nvidia-modeset": [195, 254, "0o666"],
        "nvidia-uvm": [uvm, 0, "0o666"],
        "nvidia-uvm-tools": [uvm, 1, "0o666"],
        "nvidia-cap1": [caps, 1, "0o400"],
        "nvidia-cap2": [caps, 2, "0o444"],
    }


def test_instances_come_and_go_with_their_capability_nodes(gpus: SimulatedGpus, tmp_path: Path) -> None:
    script = """
command("device-nodes")
pynvml.nvmlInit()
device = pynvml.nvmlDeviceGetHandleByIndex(1)
pynvml.nvmlDeviceSetMigMode(device, 1)
before = nodes()
gpu_instance, compute = make_instance(device, 9, 4)
tell({k: v[1:] for k, v in nodes().items() if k not in before})
command("device-nodes")
tell(sorted(set(nodes()) - set(before)))
pynvml.nvmlComputeInstanceDestroy(compute)
pynvml.nvmlGpuInstanceDestroy(gpu_instance)
tell(nodes() == before)
"""
    made, after_repair, gone = run_in_own_dev(gpus, tmp_path, script)
    assert made == {"nvidia-cap156": [156, "0o444"], "nvidia-cap157": [157, "0o444"]}  # 3 + 135 * 1 + 9 * 2, and 1 more
    assert after_repair == sorted(made)
    assert gone is True


def test_only_what_may_be_opened_is_seen(gpus: SimulatedGpus, tmp_path: Path) -> None:
    script = """
command("device-nodes")
pynvml.nvmlInit()
device = pynvml.nvmlDeviceGetHandleByIndex(1)
wanted = pynvml.nvmlDeviceGetUUID(device)
pynvml.nvmlDeviceSetMigMode(device, 1)
make_instance(device, 9, 0)
make_instance(device, 9, 4)
tell(pynvml.nvmlDeviceGetCount())
os.unlink("/dev/nvidia0")
tell([pynvml.nvmlDeviceGetCount(), pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(0)) == wanted])
tell([pynvml.nvmlDeviceGetGpuInstanceId(m) for m in mig_devices(device)])
os.unlink("/dev/nvidia-caps/nvidia-cap147")
tell([pynvml.nvmlDeviceGetGpuInstanceId(m) for m in mig_devices(device)])
os.unlink("/dev/nvidia-caps/nvidia-cap157")
tell(mig_devices(device))
pynvml.nvmlShutdown()
os.unlink("/dev/nvidiactl")
tell(error(pynvml.nvmlInit))
"""
    assert run_in_own_dev(gpus, tmp_path, script) == [2, [1, True], [1, 2], [2], [], 9]


def test_denied_control_node_gives_the_error_of_a_fenced_session(gpus: SimulatedGpus, tmp_path: Path) -> None:
    script = f"""
command("--state", {str(gpus.state_path)!r}, "device-nodes")
open("/dev/state", "w").write(open({str(gpus.state_path)!r}).read())
os.chmod("/dev/nvidiactl", 0o600)
os.environ["DS01SIM_STATE"] = "/dev/state"
os.setgroups([])
os.setuid(65534)
tell(error(pynvml.nvmlInit))
"""
    assert run_in_own_dev(gpus, tmp_path, script) == [999]


def test_a_boot_brings_back_what_the_configuration_says(gpus: SimulatedGpus, tmp_path: Path) -> None:
    config, saved = tmp_path / "gpus.json", tmp_path / "saved"
    config.write_text(json.dumps({"models": ["a100-40gb", "h100-80gb"]}))
    script = f"""
config, saved, state = {str(config)!r}, {str(saved)!r}, {str(gpus.state_path)!r}
def restore():
    command("restore", "--config", config, "--saved", saved)
def shut_down_and_boot():
    command("save", "--saved", saved)
    text = open(saved).read()
    boot = open("/proc/sys/kernel/random/boot_id").read().strip()
    open(saved, "w").write(text.replace(boot, "another-boot"))
    os.unlink(state)
    restore()
restore()
pynvml.nvmlInit()
for index in (0, 1):
    device = pynvml.nvmlDeviceGetHandleByIndex(index)
    pynvml.nvmlDeviceSetMigMode(device, 1)
    make_instance(device, 9, 4)
shut_down_and_boot()
devices = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in (0, 1)]
tell([pynvml.nvmlDeviceGetMigMode(d) for d in devices])
tell([instances(devices[0]), sorted(n for n in nodes() if "cap" in n)])
make_instance(devices[0], 9, 0)
open(config, "w").write(json.dumps({{"models": ["a100-40gb", "a100-80gb", "h200-141gb"]}}))
restore()
tell([pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(i)) for i in range(pynvml.nvmlDeviceGetCount())])
tell(instances(pynvml.nvmlDeviceGetHandleByIndex(0)))
open(state, "w").write("not a state")
restore()
tell(pynvml.nvmlDeviceGetMigMode(pynvml.nvmlDeviceGetHandleByIndex(0)))
"""
    modes, (left, caps), names, kept, fresh = run_in_own_dev(gpus, tmp_path, script)
    assert modes == [[1, 1], [0, 0]], "the mode stays on Ampere and goes on Hopper"
    assert (left, caps) == ([], ["nvidia-cap1", "nvidia-cap2"])
    assert names == ["NVIDIA A100-PCIE-40GB", "NVIDIA A100 80GB PCIe", "NVIDIA H200"]
    assert kept == [[1, 9, 0]], "a GPU whose model stays keeps its instances"
    assert fresh == [0, 0], "a state that nobody can read is made anew"
