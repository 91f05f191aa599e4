# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What containers use: two looks at the kernel's counters a moment apart (through dockerd), and the GPUs as the watcher sees them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .docker_calls import Refused, call, container_target
from .failure import Failure
from .gate_client import ask
from .own_containers import OwnContainer
from .screen import size, table

_RUNNING = ("running", "paused")
# Memory within this share of the limit is shown in yellow: the next allocation may end the container.
_NEAR = 0.9


@dataclass(frozen=True)
class Look:
    """Counters of one container: CPU nanoseconds since its start, bytes, processes; ``at`` in seconds of some clock that goes on."""

    at: float
    cpu_ns: int
    memory: int
    memory_limit: int | None
    pids: int


@dataclass(frozen=True)
class Use:
    """What one container uses; None where it is not known. ``cpu_percent`` of one CPU; ``gpu_memory`` in bytes."""

    container: OwnContainer
    cpu_percent: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    pids: int | None = None
    gpu_memory: int | None = None

    def document(self) -> dict[str, Any]:
        """The form of ``--json``."""
        keys = ("cpu_percent", "memory", "memory_limit", "pids", "gpu_memory")
        return {**self.container.document(), **{key: getattr(self, key) for key in keys}}


def parse_look(answer: Mapping[str, Any]) -> Look | None:
    """A look from Docker's answer to ``stats``; None where it tells nothing, as of a container that has just ended."""
    memory = answer.get("memory_stats") or {}
    cpu = (answer.get("cpu_stats") or {}).get("cpu_usage") or {}
    if "usage" not in memory or "total_usage" not in cpu:
        return None
    # As `docker stats` counts it: file pages that the kernel may drop at once are not the container's need.
    used = int(memory["usage"]) - int((memory.get("stats") or {}).get("inactive_file", 0))
    return Look(
        _seconds(str(answer.get("read", ""))),
        int(cpu["total_usage"]),
        max(0, used),
        int(memory["limit"]) if memory.get("limit") else None,
        int((answer.get("pids_stats") or {}).get("current") or 0),
    )


def _seconds(text: str) -> float:
    """A time of dockerd, which has nine digits of a second where Python takes six."""
    head, _, fraction = text.rstrip("Z").partition(".")
    try:
        return datetime.fromisoformat(f"{head}+00:00").timestamp() + float(f"0.{fraction or 0}")
    except ValueError:
        return time.monotonic()


def look_at(containers: Sequence[OwnContainer]) -> dict[str, Look]:
    """A look at each that runs, by id. One that ends meanwhile is left out."""
    looks = {}
    for one in containers:
        if one.state not in _RUNNING:
            continue
        try:
            found = parse_look(call("GET", container_target(one.id, "stats", stream="0", **{"one-shot": "1"})))
        except Refused as refused:
            if refused.status in (404, 409):
                continue
            raise
        if found is not None:
            looks[one.id] = found
    return looks


def gpu_memory() -> dict[str, int | None]:
    """GPU memory in use by container id, as the watcher published it; nothing where it does not run."""
    try:
        found = ask("workloads")["workloads"]
    except Failure:
        return {}
    return {one["container_id"]: one["gpu_memory"] for one in found if one.get("container_id")}


def uses(
    containers: Sequence[OwnContainer], before: Mapping[str, Look], now: Mapping[str, Look], gpus: Mapping[str, int | None]
) -> list[Use]:
    """What each uses, between two looks."""
    found = []
    for one in containers:
        look, earlier = now.get(one.id), before.get(one.id)
        if look is None:
            found.append(Use(one))
            continue
        percent = None
        if earlier is not None and look.at > earlier.at and look.cpu_ns >= earlier.cpu_ns:
            percent = (look.cpu_ns - earlier.cpu_ns) / 1e9 / (look.at - earlier.at) * 100
        found.append(Use(one, percent, look.memory, look.memory_limit, look.pids, gpus.get(one.id)))
    return found


def render(found: Sequence[Use], *, everyone: bool = False, width: int | None = None) -> str:
    """The table that a person sees."""
    if not found:
        return "No such containers. All of yours: ds01 container list"
    rows: list[list[object]] = []
    colours = []
    for one in found:
        name = f"{one.container.user}/{one.container.name}" if everyone else one.container.name
        memory = "" if one.memory is None else size(one.memory) + (f" of {size(one.memory_limit)}" if one.memory_limit else "")
        cpu = "" if one.cpu_percent is None else f"{one.cpu_percent:.0f} %"
        gpu_use = "" if one.gpu_memory is None else size(one.gpu_memory)
        rows.append([name, one.container.state, cpu, memory, "" if one.pids is None else one.pids, one.container.gpu() or "-", gpu_use])
        near = one.memory is not None and one.memory_limit and one.memory / one.memory_limit >= _NEAR
        colours.append("yellow" if near else "dim" if one.container.state not in _RUNNING else None)
    return table(("CONTAINER", "STATE", "CPU", "MEMORY", "PROCESSES", "GPU", "GPU MEM"), rows, colours, width, ("GPU MEM",))
