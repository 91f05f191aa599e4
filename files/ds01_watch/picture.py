# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The watcher's present knowledge, put together from its feeds: what inventory, events and metrics are made of."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ds01.claim_store import ClaimStore
from ds01.core.cgroup_path import place
from ds01.core.claim import Claim
from ds01.core.devices import Inventory
from ds01.core.devices_json import from_json
from ds01.core.workload_document import Workload, workloads
from ds01.core.workload_facts import ContainerFacts, ProcessFacts
from ds01.known_people import Accounts

from .docker_feed import DockerFeed
from .foreign_feed import ForeignFeed
from .gpu_feed import GpuFeed
from .gpu_processes import GpuProcesses

NO_GPUS = Inventory((), "", False, 0.0)


@dataclass(frozen=True)
class Picture:
    """One moment. ``gpu_age`` and ``docker_away`` in seconds: how old NVML's word is, how long dockerd has not answered (None: it does).

    ``containers`` are dockerd's. ``failed``: GPUs that NVML knows and could not read at its last look, and why.
    """

    at: float
    inventory: Inventory
    sensors: dict[str, dict[str, Any]]
    xids: dict[str, dict[str, int]]
    containers: tuple[ContainerFacts, ...]
    workloads: tuple[Workload, ...]
    claims: tuple[Claim, ...]
    gpu_age: float | None
    gpu_error: str | None
    docker_away: float | None
    docker_error: str | None
    failed: dict[str, str] = field(default_factory=dict)
    at_monotonic: float = 0.0

    @property
    def answered(self) -> frozenset[str]:
        """The GPUs that NVML could read at its last look."""
        return frozenset(self.sensors)

    def sources(self) -> dict[str, dict[str, Any]]:
        """For the published inventory: which source answers, and how old its word is."""
        return {
            "docker": {"ok": self.docker_away is None, "away_s": self.docker_away, "error": self.docker_error},
            "gpu": {"ok": self.gpu_error is None, "age_s": self.gpu_age, "error": self.gpu_error},
        }


def people_of(containers: Iterable[ContainerFacts], processes: Iterable[ProcessFacts] = ()) -> set[int]:
    """The uids that could be somebody's here: those of processes, slices, labels and owners of bind mounts."""
    uids = {uid for one in processes for uid in (one.uid, one.login_uid, place(one.cgroup_path).uid) if uid is not None}
    for facts in containers:
        label = facts.labels.get("ds01.uid", "")
        found = (place(facts.cgroup_path).uid, int(label) if label.isdigit() and len(label) < 11 else None, *facts.bind_sources.values())
        uids |= {uid for uid in found if uid is not None}
    return uids


class Painter:
    """Makes pictures."""

    def __init__(self, docker: DockerFeed, gpu: GpuFeed, foreign: ForeignFeed, claims: ClaimStore) -> None:
        self._docker = docker
        self._gpu = gpu
        self._foreign = foreign
        self._claims = claims
        self._people = Accounts()
        self._processes = GpuProcesses()
        self._lock = threading.Lock()

    def paint(self) -> Picture:
        """The picture of now."""
        with self._lock:
            look, gpu_age, gpu_error = self._gpu.latest()
            inventory = from_json(look["inventory"]) if look else NO_GPUS
            processes = self._processes.of(look)
            containers = self._docker.containers()
            everywhere = (*containers, *self._foreign.containers())
            claims = self._claims.read().claims
            people = self._people.now(people_of(everywhere, processes))
            away, docker_error = self._docker.trouble()
            return Picture(
                time.time(),
                inventory,
                {uuid: entry["sensors"] for uuid, entry in look["gpus"].items()} if look else {},
                look.get("xids", {}) if look else {},
                containers,
                workloads(inventory, everywhere, processes, claims, people),
                claims,
                gpu_age,
                gpu_error,
                away,
                docker_error,
                dict(look["failed"]) if look else {},
                time.monotonic(),
            )
