# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Processes on GPUs with what /proc says of each, taken at once: NVML first, then /proc, so that few are gone by then."""

from __future__ import annotations

from .core.devices import Inventory
from .core.workload_facts import ProcessFacts
from .nvml import Nvml
from .nvml_processes import processes
from .proc_facts import read_process


def read_gpu_processes(nvml: Nvml, inventory: Inventory) -> tuple[ProcessFacts, ...]:
    """Every process on every healthy GPU, by GPU and pid; one that ended meanwhile is left out. Raises NvmlError."""
    found: list[ProcessFacts] = []
    for gpu in inventory.gpus:
        for one in processes(nvml.handle(gpu.uuid)) if gpu.healthy else ():
            facts = read_process(one.pid)
            if facts is not None:
                found.append(
                    ProcessFacts(
                        pid=one.pid,
                        start_ticks=facts.start_ticks,
                        uid=facts.uid,
                        login_uid=facts.login_uid,
                        cgroup_path=facts.cgroup_path,
                        command=facts.command,
                        executable=facts.executable,
                        gpu_uuid=gpu.uuid,
                        gpu_instance=one.gi_id,
                        memory_bytes=one.memory,
                    )
                )
    return tuple(found)
