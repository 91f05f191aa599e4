# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Device nodes of simulated GPUs.

There is no driver behind them: opening one gives ENXIO where file mode and cgroup allow it, and EPERM where they do not.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from . import majors
from .state_text import State


@dataclass(frozen=True)
class Node:
    """A character device. ``path`` is relative to /dev."""

    path: str
    major: int
    minor: int
    mode: int = 0o666


def common_nodes(uvm_major: int) -> list[Node]:
    """Nodes that every program needs, whatever GPU it uses."""
    return [
        Node("nvidiactl", majors.NVIDIA, majors.CONTROL_MINOR),
        Node("nvidia-uvm", uvm_major, 0),
        Node("nvidia-uvm-tools", uvm_major, 1),
    ]


def gpu_node(gpu_minor: int) -> Node:
    """The node of a GPU, which its MIG instances share."""
    return Node(f"nvidia{gpu_minor}", majors.NVIDIA, gpu_minor)


def cap_node(caps_major: int, minor: int, mode: int = 0o444) -> Node:
    """The node of a MIG capability."""
    return Node(f"nvidia-caps/nvidia-cap{minor}", caps_major, minor, mode)


def all_nodes(state: State, uvm_major: int, caps_major: int) -> list[Node]:
    """Every node of a host as it is now."""
    nodes = [
        *common_nodes(uvm_major),
        Node("nvidia-modeset", majors.NVIDIA, majors.MODESET_MINOR),
        cap_node(caps_major, majors.CONFIG_MINOR, 0o400),
        cap_node(caps_major, majors.MONITOR_MINOR),
    ]
    for gpu in state.gpus():
        minor = gpu.number("minor")
        nodes.append(gpu_node(minor))
        nodes.extend(cap_node(caps_major, majors.gpu_instance_minor(minor, r.ids[1])) for r in state.of_kind("gi", gpu.ids[0]))
        nodes.extend(
            cap_node(caps_major, majors.compute_instance_minor(minor, r.ids[1], r.ids[2])) for r in state.of_kind("ci", gpu.ids[0])
        )
    return nodes


def is_in_place(node: Node, dev: Path) -> bool:
    """Whether the node is there as it should be."""
    try:
        status = os.lstat(dev / node.path)
    except FileNotFoundError:
        return False
    return (
        stat.S_ISCHR(status.st_mode)
        and (os.major(status.st_rdev), os.minor(status.st_rdev)) == (node.major, node.minor)
        and stat.S_IMODE(status.st_mode) == node.mode
    )


def make_nodes(nodes: list[Node], dev: Path = Path("/dev")) -> list[str]:
    """Make what is missing or different, remove nvidia nodes that are not wanted. Returns the paths that changed. Needs CAP_MKNOD."""
    changed = []
    wanted = {str(dev / node.path) for node in nodes}
    for path in sorted([*dev.glob("nvidia[0-9]*"), *dev.glob("nvidia-caps/nvidia-cap*")]):
        if str(path) not in wanted:
            path.unlink()
            changed.append(str(path))
    for node in nodes:
        if is_in_place(node, dev):
            continue
        path = dev / node.path
        path.parent.mkdir(mode=0o755, exist_ok=True)
        path.unlink(missing_ok=True)
        os.mknod(path, stat.S_IFCHR | node.mode, os.makedev(node.major, node.minor))
        path.chmod(node.mode)
        changed.append(str(path))
    return changed
