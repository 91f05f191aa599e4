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
MOST_COMMAND = 400
"""Characters of a command line that are published: people may make theirs megabytes long."""


@dataclass(frozen=True)
class Workload:
    """One line of the inventory. ``gpus`` are (GPU UUID, profile or None); ``memory`` in bytes on the GPU, None where not known.

    ``access_by``: how it comes to a GPU: claim, privileged, devices, runtime; "process" where only its being there shows it.
    """

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
    access_by: str = ""

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
    """Every workload, containers first, each process with its container; a process on several GPUs is one workload."""
    by_container: dict[str, list[ProcessFacts]] = {}
    loose: dict[tuple[str, int], list[ProcessFacts]] = {}
    known = {facts.id: facts for facts in containers}
    for process in processes:
        container_id = place(process.cgroup_path).container_id
        if container_id is not None and container_id in known and _inside(process, known[container_id]):
            by_container.setdefault(container_id, []).append(process)
        else:
            key = (container_id, 0) if container_id is not None else (str(process.pid), process.start_ticks)
            loose.setdefault(key, []).append(process)
    held = {claim.container_id: claim for claim in claims}
    found = []
    for facts in known.values():
        own = tuple(by_container.get(facts.id, ()))
        claim = held.get(facts.id)
        if own or claim is not None or facts.gpu_minors or facts.gpu_names or facts.every_gpu:
            found.append(_container(inventory, facts, own, claim, people))
    return (*found, *(_loose(inventory, tuple(group), held, people) for group in loose.values()))


def _inside(process: ProcessFacts, container: ContainerFacts) -> bool:
    """Whether the process is in the container's own cgroup; a name alone is not enough where the cgroup is known."""
    path = container.cgroup_path
    return not path or process.cgroup_path == path or process.cgroup_path.startswith(path.rstrip("/") + "/")


def _container(inventory: Inventory, facts: ContainerFacts, own: tuple[ProcessFacts, ...], claim: Claim | None, people: People) -> Workload:
    if claim is not None:
        gpus = tuple((device.gpu_uuid, device.profile) for device in claim.devices)
    elif facts.every_gpu:
        gpus = tuple((gpu.uuid, None) for gpu in inventory.gpus)
    else:
        gpus = _devices(inventory, facts)
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
        "claim" if claim is not None and not facts.privileged else facts.access_by,
    )


def _devices(inventory: Inventory, facts: ContainerFacts) -> tuple[tuple[str, str | None], ...]:
    """The GPUs that a container without a claim can open, by minor, index, UUID, or UUID of an instance."""
    found: list[tuple[str, str | None]] = []
    for gpu in inventory.gpus:
        if gpu.minor in facts.gpu_minors or str(gpu.index) in facts.gpu_names or gpu.uuid in facts.gpu_names:
            found.append((gpu.uuid, None))
        found += [(gpu.uuid, one.profile) for one in gpu.instances if one.mig_uuid in facts.gpu_names]
    return tuple(found)


def _loose(inventory: Inventory, own: tuple[ProcessFacts, ...], held: Mapping[str, Claim], people: People) -> Workload:
    """A process outside every container that is known, or those of a container that its engine has not told of (yet)."""
    first = own[0]
    where = place(first.cgroup_path)
    claim = held.get(where.container_id or "")
    # dockerd may be away, but the claim is a file of root's and names this very container: it came through the gate.
    gated = claim is not None and (claim.id, claim.uid) == (where.claim_id, where.uid)
    kind = process_kind(first, Kind.MANAGED if gated else None)
    owner = NOBODY if kind is Kind.SYSTEM else process_owner(first, None, people)
    gpus = tuple(dict.fromkeys((one.gpu_uuid, _profile(inventory, one)) for one in own))
    name = claim.container_name if gated and claim is not None else first.command[:120]
    made_by = "ds01" if gated else where.engine or "host"
    return Workload(kind, made_by, owner, where.container_id, name, "", True, gpus, False, False, where.claim_id, own, 0.0, "process")


def _profile(inventory: Inventory, process: ProcessFacts) -> str | None:
    gpu = inventory.gpu(process.gpu_uuid)
    instances = gpu.instances if gpu is not None else ()
    return next((one.profile for one in instances if one.gi_id == process.gpu_instance), None)


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
                "access_by": one.access_by or None,
                "gpus": [_gpu_entry(by_uuid, uuid, profile) for uuid, profile in one.gpus],
                "gpu_memory": one.memory,
                "processes": [
                    {
                        "pid": process.pid,
                        "start_ticks": process.start_ticks,
                        "cgroup": process.cgroup_path,
                        "command": process.command[:MOST_COMMAND],
                        "uid": process.uid,
                        "login_uid": process.login_uid,
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
