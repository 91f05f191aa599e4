# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""One look at every container: dockerd's list in one call, samples from the kernel, GPUs from the watcher, rules from the policy."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from ds01 import maintenance_file, queue_file
from ds01.claim_store import ClaimStore
from ds01.container_samples import container_cgroups, life
from ds01.core.activity import Sample
from ds01.core.claim import Claim
from ds01.core.idle_demand import people_waiting, under_demand
from ds01.core.lifecycle_subject import UNKNOWN, Subject, subject
from ds01.core.limits import Limits
from ds01.core.maintenance import Maintenance
from ds01.core.policy_resolve import resolve
from ds01.core.queue_state import QueueState
from ds01.core.sweep_plan import Seen
from ds01.docker_upstream import DockerClient
from ds01.gpu_use import GpuUses, read_gpu_uses
from ds01.json_state import StateError
from ds01.keep_alive import keep_alive_ages
from ds01.known_people import Accounts
from ds01.listed_containers import Listed, list_containers
from ds01.policy_file import Resolver

from .settings import Places

_LOG = logging.getLogger("ds01.lifecycle")
NOBODY = "nobody"


@dataclass(frozen=True)
class Clocks:
    """``boot``: seconds since boot, suspended time included; ``wall``: seconds since the epoch, for people and for dates of files."""

    boot: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    wall: Callable[[], float] = time.time


@dataclass(frozen=True)
class View:
    """What was seen at ``at`` (seconds since boot): containers, a process of each running one, why GPUs are not known (or empty).

    ``queue`` is None where it can't be read. ``unseen``: containers that could not be looked at.
    """

    at: float
    seen: tuple[Seen, ...]
    pids: dict[str, int]
    gpus_unknown: str
    claims: tuple[Claim, ...]
    queue: QueueState | None
    maintenance: Maintenance | None
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Scene:
    """What holds for all containers of one look. ``starts``: those whose start waits in the queue; None: that is not known."""

    at: float
    uses: GpuUses
    waiting: int
    holders: frozenset[str]
    starts: frozenset[str] | None


class Looker:
    """Looks, again and again, with one memory of people."""

    def __init__(self, places: Places, docker: DockerClient, resolver: Resolver, clocks: Clocks) -> None:
        self._places = places
        self._docker = docker
        self._resolver = resolver
        self._clocks = clocks
        self._people = Accounts()

    def look(self) -> View:
        """Everything now. Raises DaemonUnavailable, DaemonRefused, PolicyError."""
        cgroups = container_cgroups(self._places.cgroups)
        listed = list_containers(self._docker, cgroups)
        people = self._people.now({int(uid) for one in listed if (uid := one.facts.labels.get("ds01.uid", "")).isdigit()})
        at = self._clocks.boot()
        uses = read_gpu_uses(at, self._places.inventory)
        claims = ClaimStore(self._places.claims, self._places.claims_lock).read().claims
        queue = self._queue()
        waiting = 0 if queue is None else people_waiting(queue.waiters)
        starts = None if queue is None else frozenset(one.container_id for one in queue.waiters if one.container_id is not None)
        scene = _Scene(at, uses, waiting, frozenset(claim.container_id for claim in claims), starts)
        pids: dict[str, int] = {}
        seen, unseen = [], []
        for one in listed:
            try:
                seen.append(self._seen(one, subject(one.facts, people), scene, pids))
            except Exception:  # one odd container must not keep the others from being looked at
                unseen.append(one.facts.id)
                _LOG.exception("%s (%s) can't be looked at; nothing is done to it", one.facts.name, one.facts.id[:12])
        whole = self._kept_alive(seen, pids)
        return View(at, whole, pids, "" if uses.known else uses.why, claims, queue, self._maintenance(), tuple(unseen))

    def _queue(self) -> QueueState | None:
        try:
            return queue_file.load(self._places.queue)
        except (StateError, OSError) as error:
            _LOG.error("%s; nobody is told of their turn, and what was never started stays", error)
            return None

    def _maintenance(self) -> Maintenance | None:
        try:
            return maintenance_file.load(self._places.maintenance)
        except (StateError, OSError) as error:
            _LOG.error("%s; nothing is stopped for maintenance", error)
            return None

    def _seen(self, one: Listed, whose: Subject, scene: _Scene, pids: dict[str, int]) -> Seen:
        limits, whose = self._rules(whose, one.facts.name)
        limits = replace(limits, lifecycle=under_demand(limits.lifecycle, scene.waiting, one.facts.id in scene.holders))
        rules = ("idle", "runtime")
        exempt = tuple(rule for rule in rules if limits.sources.get(f"lifecycle.{rule}", "").startswith("exemption"))
        waits = scene.starts is None or one.facts.id in scene.starts
        base = Seen(one.facts.id, one.facts.name, one.state, whose, limits.lifecycle, exempt=exempt, waits=waits)
        if not base.running or not one.facts.cgroup_path or whose.protected:
            return base
        found = life(one.facts.cgroup_path, self._places.cgroups, self._places.proc)
        if found is None:
            return base
        if found.pid is not None:
            pids[base.id] = found.pid
        up = 0.0 if found.started is None else max(0.0, scene.at - found.started)
        gpu = scene.uses.of(base.id)
        sample = Sample(scene.at, gpu.percent, gpu.processes, found.cpu_seconds, found.network_bytes)
        return replace(base, sample=sample, run=found.run, up_s=up)

    def _kept_alive(self, seen: list[Seen], pids: dict[str, int]) -> tuple[Seen, ...]:
        """With when their owners last touched the keep-alive file, where that may matter."""
        asked = {one.id: pids[one.id] for one in seen if one.sample is not None and one.limits.idle is not None and one.id in pids}
        ages = keep_alive_ages(asked, self._clocks.wall(), self._places.proc)
        late = sorted(one.name for one in seen if one.id in asked and one.id not in ages)
        if late:
            _LOG.warning("files of %d containers do not answer (%s): they are not idle now", len(late), ", ".join(late[:5]))

        def complete(one: Seen) -> Seen:
            if one.sample is None or one.id not in asked:
                return one
            return replace(one, sample=replace(one.sample, keep_alive_age=ages.get(one.id), keep_alive_known=one.id in ages))

        return tuple(complete(one) for one in seen)

    def _rules(self, whose: Subject, container: str) -> tuple[Limits, Subject]:
        """The limits of a container, and whose it is by the name of today. One of nobody, or of an account that is gone, falls under the
        kind ``unknown`` of the default group."""
        if whose.uid is not None:
            with contextlib.suppress(LookupError):
                limits = self._resolver.limits(whose.uid, kind=whose.kind, container=container)
                return limits, replace(whose, user=limits.user)
        now = datetime.fromtimestamp(self._clocks.wall(), timezone.utc)
        return resolve(self._resolver.policies.current(), NOBODY, now=now, kind=UNKNOWN), replace(whose, kind=UNKNOWN)
