# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The CDI spec of simulated GPUs, of the shape that ``nvidia-ctk cdi generate --device-name-strategy=uuid`` gives for real ones.

A container gets the library and the directory of the state, read-only; the directory, because the file in it is replaced at every
change. Which devices it sees follows from the device nodes it was given: the library asks the kernel whether it may open them, as the
real one does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import majors
from .device_nodes import Node, cap_node, common_nodes, gpu_node
from .state_text import State

CDI_VERSION = "0.5.0"
KIND = "nvidia.com/gpu"
STATE_DIRECTORY = "/run/ds01-gpusim"

# Where the dynamic linker of Debian and Ubuntu, of Red Hat and SUSE, and of Alpine looks without being told.
LIBRARY_DIRECTORIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib")
LIBRARY_NAME = "libnvidia-ml.so.1"

_READ_ONLY = ["ro", "nosuid", "nodev", "rbind", "rprivate"]


def _edit(node: Node) -> dict[str, Any]:
    permissions = "rw" if node.mode & 0o222 else "r"
    return {"path": f"/dev/{node.path}", "type": "c", "major": node.major, "minor": node.minor, "permissions": permissions}


def _device(name: str, nodes: list[Node]) -> dict[str, Any]:
    return {"name": name, "containerEdits": {"deviceNodes": [_edit(n) for n in nodes]}}


def _mounts(library: Path, state_directory: Path) -> list[dict[str, Any]]:
    mounts = [{"hostPath": str(library), "containerPath": f"{d}/{LIBRARY_NAME}", "options": _READ_ONLY} for d in LIBRARY_DIRECTORIES]
    return [*mounts, {"hostPath": str(state_directory), "containerPath": STATE_DIRECTORY, "options": _READ_ONLY}]


def cdi_spec(state: State, library: Path, state_directory: Path) -> dict[str, Any]:
    """The spec: a GPU without MIG by its UUID, a MIG instance by its own, with their nodes. A lost GPU is left out."""
    system = state.system
    uvm_major = system.number("uvm_major") or majors.UVM_PREFERRED
    caps_major = system.number("caps_major") or majors.CAPS_PREFERRED
    devices = []
    for gpu in state.gpus():
        if gpu.number("lost"):
            continue
        minor = gpu.number("minor")
        if not gpu.number("mig_mode"):
            devices.append(_device(gpu.fields["uuid"], [gpu_node(minor)]))
            continue
        for compute in state.of_kind("ci", gpu.ids[0]):
            _, gi, ci = compute.ids
            caps = [majors.gpu_instance_minor(minor, gi), majors.compute_instance_minor(minor, gi, ci)]
            devices.append(_device(compute.fields["uuid"], [gpu_node(minor), *(cap_node(caps_major, cap) for cap in caps)]))
    return {
        "cdiVersion": CDI_VERSION,
        "kind": KIND,
        "devices": devices,
        "containerEdits": {
            "env": ["NVIDIA_VISIBLE_DEVICES=void"],
            "deviceNodes": [_edit(n) for n in common_nodes(uvm_major)],
            "mounts": _mounts(library, state_directory),
        },
    }
