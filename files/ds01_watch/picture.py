# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The watcher's present knowledge, put together from its feeds: what inventory, events and metrics are made of."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from ds01.claim_store import ClaimStore
from ds01.core.claim import Claim
from ds01.core.devices import Inventory
from ds01.core.devices_json import from_json
from ds01.core.workload_document import Workload, workloads
from ds01.core.workload_facts import ContainerFacts, ProcessFacts
from ds01.known_people import Accounts
from ds01.proc_facts import read_process

from .docker_feed import DockerFeed
from .gpu_feed import GpuFeed

NO_GPUS = Inventory((), "", False, 0.0)


@dataclass(frozen=True)
class Picture:
    """One moment. ``gpu_age`` and ``docker_away`` in seconds: how old NVML's word is, how long dockerd has not answered (None: it does)."""

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

    def sources(self) -> dict[str, dict[str, Any]]:
        """For the published inventory: which source answers, and how old its word is."""
        return {
            "docker": {"ok": self.docker_away is None, "away_s": self.docker_away, "error": self.docker_error},
            "gpu": {"ok": self.gpu_error is None, "age_s": self.gpu_age, "error": self.gpu_error},
        }


class Painter:
    """Makes pictures. Process facts are kept by pid and start, so that a look costs one read of /proc for each process."""

    def __init__(self, docker: DockerFeed, gpu: GpuFeed, claims: ClaimStore) -> None:
        self._docker = docker
        self._gpu = gpu
        self._claims = claims
        self._people = Accounts()
        self._lock = threading.Lock()

    def paint(self) -> Picture:
        """The picture of now."""
        with self._lock:
            look, gpu_age, gpu_error = self._gpu.latest()
            inventory = from_json(look["inventory"]) if look else NO_GPUS
            processes = _processes(look)
            containers = self._docker.containers()
            claims = self._claims.read().claims
            people = self._people.now({process.uid for process in processes} | {process.login_uid or 0 for process in processes})
            away, docker_error = self._docker.trouble()
            return Picture(
                time.time(),
                inventory,
                {uuid: entry["sensors"] for uuid, entry in look["gpus"].items()} if look else {},
                look.get("xids", {}) if look else {},
                containers,
                workloads(inventory, containers, processes, claims, people),
                claims,
                gpu_age,
                gpu_error,
                away,
                docker_error,
            )


def _processes(look: dict[str, Any] | None) -> tuple[ProcessFacts, ...]:
    found = []
    for uuid, entry in (look or {"gpus": {}})["gpus"].items():
        for pid, instance, memory in entry["processes"]:
            facts = read_process(pid)
            if facts is not None:
                found.append(
                    ProcessFacts(
                        pid,
                        facts.start_ticks,
                        facts.uid,
                        facts.login_uid,
                        facts.cgroup_path,
                        facts.command,
                        facts.executable,
                        uuid,
                        instance,
                        memory,
                    )
                )
    return tuple(found)
