# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Numbers of the device nodes: majors, and the minors of MIG capabilities.

195 is NVIDIA's. The others are given out by the kernel when a driver is loaded; without one they are picked among those that nobody has.
"""

from __future__ import annotations

from collections.abc import Iterable

from .state_text import StateError

NVIDIA = 195
CONTROL_MINOR = 255
MODESET_MINOR = 254
UVM_PREFERRED = 507
CAPS_PREFERRED = 508

CONFIG_MINOR = 1
MONITOR_MINOR = 2
GPU_INSTANCES = 15
COMPUTE_INSTANCES = 8


def used_majors(proc_devices: str) -> set[int]:
    """Majors of character devices in the text of /proc/devices."""
    used, characters = set(), False
    for line in proc_devices.splitlines():
        if line.endswith(":"):
            characters = line.startswith("Character")
        elif characters and line.strip():
            used.add(int(line.split()[0]))
    return used


def free_major(used: set[int], preferred: int) -> int:
    """The preferred major, or the next one of the dynamic range (384 to 511) that is free."""
    candidates: list[int] = [preferred, *range(511, 383, -1)]
    for major in candidates:
        if major not in used:
            return major
    raise StateError("no character device major is free between 384 and 511")


def gpu_instance_minor(gpu_minor: int, gi: int) -> int:
    """nvidia-caps minor of a GPU instance."""
    return 3 + 135 * gpu_minor + 9 * gi


def compute_instance_minor(gpu_minor: int, gi: int, ci: int) -> int:
    """nvidia-caps minor of a compute instance."""
    return gpu_instance_minor(gpu_minor, gi) + 1 + ci


def mig_minors(gpu_minors: Iterable[int]) -> str:
    """The table of capability minors, in the format of /proc/driver/nvidia-caps/mig-minors: every instance that there could be."""
    lines = [f"config {CONFIG_MINOR}", f"monitor {MONITOR_MINOR}"]
    for gpu in gpu_minors:
        for gi in range(GPU_INSTANCES):
            lines.append(f"gpu{gpu}/gi{gi}/access {gpu_instance_minor(gpu, gi)}")
            lines.extend(f"gpu{gpu}/gi{gi}/ci{ci}/access {compute_instance_minor(gpu, gi, ci)}" for ci in range(COMPUTE_INSTANCES))
    return "\n".join(lines) + "\n"


def devices_table(uvm: int, caps: int) -> str:
    """What the driver would add to /proc/devices, in its format."""
    rows = [(NVIDIA, "nvidia"), (NVIDIA, "nvidia-modeset"), (NVIDIA, "nvidiactl"), (uvm, "nvidia-uvm"), (caps, "nvidia-caps")]
    return "Character devices:\n" + "".join(f"{major:3} {name}\n" for major, name in sorted(rows))
