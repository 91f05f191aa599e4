# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The inventory of GPU workloads, as published in /run/ds01/inventory.json: made from facts, with nothing left out and nothing guessed.

A workload is a container that can open a GPU, or a process on a GPU outside such a container.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .cgroup_path import place
from .claim import Claim
from .devices import Gpu, Inventory
from .workload_facts import ContainerFacts, People, ProcessFacts
from .workload_kind import Kind, container_kind, origin, process_kind
from .workload_owner import NOBODY, Owner, container_owner, process_owner

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Workload:
    """One line of the inventory. ``gpus`` are (GPU UUID, profile or None); ``memory`` in bytes on the GPU, None where not known."""

    kind: Kind
    origin: str
    owner: Owner
    container_id: str | None
    name: str
    image: str
    running: bool
    gpus: tuple[tuple[str, str | None], ...]
    every_gpu: bool
    privileged: bool
    claim: str | None
    processes: tuple[ProcessFacts, ...]
    since: float

    @property
    def memory(self) -> int | None:
        """What its processes hold on GPUs, in bytes."""
        known = [process.memory_bytes for process in self.processes if process.memory_bytes is not None]
        return sum(known) if known else (0 if not self.processes else None)

    @property
    def identity(self) -> tuple[str, int]:
        """What stays the same between two looks: the container, or the process and its start."""
        if self.container_id is not None:
            return self.container_id, 0
        return str(self.processes[0].pid), self.processes[0].start_ticks


def workloads(
    inventory: Inventory,
    containers: Iterable[ContainerFacts],
    processes: Iterable[ProcessFacts],
    claims: Iterable[Claim],
    people: People,
) -> tuple[Workload, ...]:
    """Every workload, containers first, each process with its container."""
    by_container: dict[str, list[ProcessFacts]] = {}
    loose: list[ProcessFacts] = []
    known = {facts.id: facts for facts in containers}
    for process in processes:
        container_id = place(process.cgroup_path).container_id
        if container_id in known and container_id is not None:
            by_container.setdefault(container_id, []).append(process)
        else:
            loose.append(process)
    held = {claim.container_id: claim for claim in claims}
    found = []
    for facts in known.values():
        own = tuple(by_container.get(facts.id, ()))
        claim = held.get(facts.id)
        if own or claim is not None or facts.gpu_minors or facts.every_gpu:
            found.append(_container(inventory, facts, own, claim, people))
    return (*found, *(_process(facts, people) for facts in loose))


def _container(inventory: Inventory, facts: ContainerFacts, own: tuple[ProcessFacts, ...], claim: Claim | None, people: People) -> Workload:
    if claim is not None:
        gpus = tuple((device.gpu_uuid, device.profile) for device in claim.devices)
    elif facts.every_gpu:
        gpus = tuple((gpu.uuid, None) for gpu in inventory.gpus)
    else:
        gpus = tuple((gpu.uuid, None) for gpu in inventory.gpus if gpu.minor in facts.gpu_minors)
    return Workload(
        container_kind(facts),
        origin(facts),
        container_owner(facts, people),
        facts.id,
        facts.name,
        facts.image,
        facts.running,
        gpus,
        facts.every_gpu,
        facts.privileged,
        claim.id if claim else None,
        own,
        facts.started_at if facts.running else facts.created_at,
    )


def _process(facts: ProcessFacts, people: People) -> Workload:
    kind = process_kind(facts, None)
    owner = NOBODY if kind is Kind.SYSTEM else process_owner(facts, None, people)
    where = place(facts.cgroup_path)
    gpus = ((facts.gpu_uuid, None),)
    engine = where.engine or "host"
    return Workload(
        kind, engine, owner, where.container_id, facts.command[:120], "", True, gpus, False, False, where.claim_id, (facts,), 0.0
    )


def _gpu_entry(by_uuid: Mapping[str, Gpu], uuid: str, profile: str | None) -> dict[str, Any]:
    gpu = by_uuid.get(uuid)
    return {"uuid": uuid, "index": gpu.index if gpu else None, "profile": profile}


def gpu_entries(inventory: Inventory, sensors: Mapping[str, Mapping[str, Any]], busy: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """The GPUs, as the watcher publishes them beside the workloads.

    ``busy``: percent over the last minute. ``answers`` of an entry: whether NVML could read this GPU just now.
    """
    return [
        {
            "uuid": gpu.uuid,
            "index": gpu.index,
            "model": gpu.model,
            "mig": gpu.mig_enabled,
            "healthy": gpu.healthy,
            "answers": gpu.uuid in sensors,
            "busy_percent": busy.get(gpu.uuid),
            **{key: sensors.get(gpu.uuid, {}).get(key) for key in ("utilisation", "memory_used", "memory_total", "power", "temperature")},
        }
        for gpu in inventory.gpus
    ]


def document(found: Sequence[Workload], inventory: Inventory, now: float, sources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The published form. ``sources`` says of dockerd and NVML whether they answer and how old their word is."""
    by_uuid = {gpu.uuid: gpu for gpu in inventory.gpus}
    return {
        "v": SCHEMA_VERSION,
        "time": now,
        "simulated": inventory.simulated,
        "sources": {name: dict(state) for name, state in sources.items()},
        "workloads": [
            {
                "kind": one.kind.value,
                "origin": one.origin,
                "tracked": one.kind.tracked,
                "user": one.owner.user,
                "uid": one.owner.uid,
                "attributed_by": one.owner.how,
                "container_id": one.container_id,
                "name": one.name,
                "image": one.image,
                "running": one.running,
                "claim": one.claim,
                "every_gpu": one.every_gpu,
                "privileged": one.privileged,
                "gpus": [_gpu_entry(by_uuid, uuid, profile) for uuid, profile in one.gpus],
                "gpu_memory": one.memory,
                "processes": [
                    {
                        "pid": process.pid,
                        "command": process.command,
                        "uid": process.uid,
                        "gpu": process.gpu_uuid,
                        "gpu_memory": process.memory_bytes,
                    }
                    for process in one.processes
                ],
                "since": one.since or None,
            }
            for one in found
        ],
    }
