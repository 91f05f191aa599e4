# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""One set of limits in unit files, D-Bus properties and kernel files; the three agree."""

from __future__ import annotations

import pytest

from ds01.core.device_filter import EVERYTHING, WITHOUT_NVIDIA, character_classes, claimed
from ds01.core.device_filter import unit_lines as filter_lines
from ds01.core.slice_limits import INFINITY, SliceLimits, differences, properties, unit_lines

FULL = SliceLimits(1.5, 2**30, 2**31, 512, 50, 4_000_000, 2_000_000, ("/var/lib/docker",))
NONE = SliceLimits()
KERNEL = {
    "cpu.max": "150000 100000\n",
    "memory.high": "1073741824\n",
    "memory.max": "2147483648\n",
    "pids.max": "512\n",
    "io.weight": "default 50\n",
    "io.max": "8:0 rbps=4000000 wbps=2000000 riops=max wiops=max\n",
}


def test_unit_file():
    assert unit_lines(FULL) == [
        "CPUQuota=150%",
        "MemoryHigh=1073741824",
        "MemoryMax=2147483648",
        "TasksMax=512",
        "IOWeight=50",
        "IOReadBandwidthMax=/var/lib/docker 4000000",
        "IOWriteBandwidthMax=/var/lib/docker 2000000",
    ]
    assert unit_lines(NONE) == ["CPUQuota=", "MemoryHigh=infinity", "MemoryMax=infinity", "TasksMax=infinity", "IOWeight=100"]


def test_properties():
    sent = properties(FULL)
    assert ("CPUQuotaPerSecUSec", "t", 1_500_000) in sent and ("MemoryMax", "t", 2**31) in sent
    reads = [value for name, _, value in sent if name == "IOReadBandwidthMax"]
    assert reads == [[], [("/var/lib/docker", 4_000_000)]]
    assert ("TasksMax", "t", INFINITY) in properties(NONE) and ("CPUQuotaPerSecUSec", "t", INFINITY) in properties(NONE)


@pytest.mark.parametrize(
    ("cpus", "percent", "kernel"),
    [(0.5, "50%", 50_000), (0.333333, "33.33%", 33_330), (0.0001, "1%", 1000), (64, "6400%", 6_400_000), (1.001, "100.10%", 100_100)],
)
def test_cpus_mean_the_same_everywhere(cpus, percent, kernel):
    limits = SliceLimits(cpus)
    assert unit_lines(limits)[0] == f"CPUQuota={percent}"
    assert properties(limits)[0] == ("CPUQuotaPerSecUSec", "t", kernel * 10)
    assert differences(limits, {"cpu.max": f"{kernel} 100000\n"}) == []


def test_the_kernel_agrees():
    assert differences(FULL, KERNEL, ["8:0"]) == []
    assert differences(NONE, {}) == []
    assert differences(NONE, {"cpu.max": "max 100000\n", "memory.max": "max\n", "io.max": "\n", "io.weight": "default 100\n"}) == []


@pytest.mark.parametrize("file", sorted(KERNEL))
def test_each_file_that_disagrees_is_named(file):
    wrong = {**KERNEL, file: "8:0 rbps=7 wbps=2000000\n" if file == "io.max" else "7\n"}
    assert [d.file for d in differences(FULL, wrong, ["8:0"])] == [file]
    assert "7" in str(differences(FULL, wrong, ["8:0"])[0])


@pytest.mark.parametrize("file", ["cpu.max", "memory.high", "memory.max", "pids.max"])
def test_a_limit_that_the_kernel_cannot_hold_is_a_difference(file):
    missing = {k: v for k, v in KERNEL.items() if k != file}
    assert [(d.file, d.is_now) for d in differences(FULL, missing, ["8:0"])] == [(file, "absent")]


def test_bandwidth_of_other_disks_and_of_none():
    assert str(differences(FULL, {**KERNEL, "io.max": ""}, ["8:0"])[0]) == "io.max is '8:0 rbps=max', should be '8:0 rbps=4000000'"
    assert differences(NONE, {"io.max": "8:16 rbps=5 wbps=max\n"})[0].should_be == "8:16 rbps=max"
    assert differences(FULL, {k: v for k, v in KERNEL.items() if k != "io.max"}, []) == []


def test_memory_is_whole_pages():
    assert differences(SliceLimits(memory_max=10_000), {"memory.max": "8192\n"}) == []


def test_filters():
    assert claimed([(237, 4), (195, 0), (195, 0)]) == (*WITHOUT_NVIDIA, ("/dev/char/195:0", "rwm"), ("/dev/char/237:4", "rwm"))
    assert filter_lines(EVERYTHING) == ["DevicePolicy=closed", "DeviceAllow=char-* rwm", "DeviceAllow=block-* rwm"]


def test_no_class_but_nvidia_is_left_out():
    import fnmatch

    globs = [what.removeprefix("char-") for what, _ in WITHOUT_NVIDIA if what.startswith("char-")]
    for name in ("mem", "pts", "/dev/vc/0", "fuse", "n", "nv", "nvme", "nvram", "ndctl", "kvm", "vfio", "infiniband_verbs", "drm"):
        assert any(fnmatch.fnmatchcase(name, g) for g in globs) or name in ("n", "nv"), name
    for name in ("nvidia", "nvidiactl", "nvidia-uvm", "nvidia-caps", "nvidia-nvswitch", "nvidia-modeset", "nvidia-frontend"):
        assert not any(fnmatch.fnmatchcase(name, g) for g in globs), name


def test_classes_of_proc_devices():
    text = "Character devices:\n  1 mem\n195 nvidia\n195 nvidiactl\n\nBlock devices:\n  8 sd\n259 blkext\n"
    assert character_classes(text) == {(1, "mem"), (195, "nvidia"), (195, "nvidiactl")}
