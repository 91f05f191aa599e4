# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the watcher says of each container's GPUs, read from ``/run/ds01/inventory.json``. What is old is not known."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import json_state

INVENTORY = "/run/ds01/inventory.json"
STALE_S = 60.0


@dataclass(frozen=True)
class GpuUse:
    """``percent``: of the busiest of its GPUs, over the last minute; ``processes`` on them. None: not known."""

    percent: float | None
    processes: int | None


NOT_KNOWN = GpuUse(None, None)
NO_GPU = GpuUse(None, 0)


@dataclass(frozen=True)
class GpuUses:
    """``known`` False: the watcher or NVML has not answered for a minute, so nothing is known of any container."""

    known: bool
    by_container: Mapping[str, GpuUse] = field(default_factory=dict)
    why: str = ""

    def of(self, container_id: str) -> GpuUse:
        """The use of a container; one that the watcher does not list has no GPU."""
        return self.by_container.get(container_id, NO_GPU) if self.known else NOT_KNOWN


def gpu_uses(document: Any, uptime: float) -> GpuUses:
    """The uses in a published inventory, looked at ``uptime`` seconds after boot."""
    try:
        age = uptime - float(document["uptime"])
        gpu_age, docker = document["sources"]["gpu"]["age_s"], document["sources"]["docker"]
        if not -1 <= age <= STALE_S:
            return GpuUses(False, why=f"the inventory is {age:.0f} s old")
        if gpu_age is None or float(gpu_age) + age > STALE_S:
            return GpuUses(False, why="NVML does not answer")
        if not docker["ok"]:
            return GpuUses(False, why="the watcher has lost dockerd")
        gpus = {str(gpu["uuid"]): gpu for gpu in document["gpus"]}
        found = {str(one["container_id"]): _use(one, gpus) for one in document["workloads"] if one["container_id"]}
        return GpuUses(True, found)
    except (KeyError, TypeError, ValueError) as error:
        return GpuUses(False, why=f"the inventory is of another shape ({type(error).__name__}: {error})")


def _use(workload: Mapping[str, Any], gpus: Mapping[str, Mapping[str, Any]]) -> GpuUse:
    own = [gpus.get(str(entry["uuid"])) for entry in workload["gpus"]]
    answering = [gpu for gpu in own if gpu is not None and gpu["answers"]]
    if len(answering) < len(own):
        return NOT_KNOWN
    percents = [gpu["busy_percent"] for gpu in answering]
    known = None if not percents or any(one is None for one in percents) else max(float(one) for one in percents)
    return GpuUse(known, len(workload["processes"]))


def read_gpu_uses(uptime: float, path: str = INVENTORY) -> GpuUses:
    """The uses now; never raises: what can't be read is not known, and ``why`` says so."""
    try:
        document = json_state.read(path)
    except (json_state.StateError, OSError) as error:
        return GpuUses(False, why=str(error))
    return gpu_uses(document, uptime) if document is not None else GpuUses(False, why=f"{os.path.basename(path)} is not there")
