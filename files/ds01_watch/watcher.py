# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Ties the feeds together: after every change a picture, from it the published inventory and the events of what is new."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ds01 import json_state
from ds01.core.event import Event
from ds01.core.layout_changes import layout_changes, xid_changes
from ds01.core.oom_record import OomKill
from ds01.core.part_changes import Part, Parts, part_changes
from ds01.core.permit_changes import Permits, permit_changes
from ds01.core.workload_changes import Identity, changes
from ds01.core.workload_document import document, gpu_entries
from ds01.core.workload_facts import ContainerFacts
from ds01.core.workload_owner import container_owner
from ds01.known_people import Accounts
from ds01.proc_facts import read_process

from .busy import Busy
from .docker_feed import DockerFeed
from .journal import Journal
from .log_counts import LogCounts
from .memory import Memory, save
from .picture import Painter, Picture, people_of
from .platform_metrics import OwnHealth

_LOG = logging.getLogger("ds01.watch")
_QUIET_S = 0.2
_SAY_AGAIN_S = 5.0
FIRST_WORD_S = 15.0
"""So long after its start the watcher waits for the first word of dockerd and NVML before it says that they are away."""
_SAME_KILL_S = 10.0
"""Within so many seconds dockerd and the kernel tell of the same kill."""
_GPU_PATIENCE_S = 12.0
"""A MIG layout being changed makes NVML fail for a look or two."""
_KINDS = {
    "create": "container.create",
    "start": "container.start",
    "stop": "container.stop",
    "die": "container.die",
    "oom": "container.oom",
    "destroy": "container.remove",
}


class Watcher:
    """``woken`` is set by the feeds; ``run`` does the rest until ``ended`` is set."""

    def __init__(
        self,
        painter: Painter,
        docker: DockerFeed,
        journal: Journal,
        log: LogCounts,
        permits: Callable[[float], Permits],
        memory: Memory,
        inventory_path: str,
        memory_path: str,
    ) -> None:
        self.woken = threading.Event()
        self.ended = threading.Event()
        self._painter = painter
        self._docker = docker
        self._journal = journal
        self._log = log
        self._permits = permits
        self._memory = self._saved = memory
        self._paths = (inventory_path, memory_path)
        self._people = Accounts()
        self._parts = Parts()
        self._answered_once: set[str] = set()
        self._busy = Busy()
        self._looked: float | None = None
        self._picture: Picture | None = None
        self._own = OwnHealth()
        self._oom_told: dict[str, float] = {}
        self._oom_lock = threading.Lock()
        self._began = self.looked_at = time.monotonic()

    def picture(self) -> Picture:
        """The last picture, or a first one."""
        if self._picture is None:
            self._picture = self._painter.paint()
        return self._picture

    def health(self) -> OwnHealth:
        """How the watcher itself fares."""
        return replace(self._own, unwritten=self._journal.unwritten)

    def container_event(self, action: str, facts: ContainerFacts, event: dict[str, Any]) -> None:
        """Called by the docker feed for each event: it goes to the event log with whose container it was and how that was made."""
        if action == "oom" and not self._first_to_tell(facts.id):
            return
        attributes = event["Actor"].get("Attributes") or {}
        details: dict[str, Any] = {"exit_code": attributes.get("exitCode")} if action == "die" else {}
        if event.get("concluded"):
            details = {"concluded": True}
        self._container(action, facts, int(event.get("timeNano", 0)) / 1e9, details)

    def oom_kill(self, kill: OomKill) -> None:
        """Called by the kernel's feed: the event for a container of dockerd, unless dockerd has told of it."""
        facts = next((one for one in self._docker.containers() if one.id == kill.container_id), None)
        if facts is not None and self._first_to_tell(facts.id):
            self._container("oom", facts, time.time(), {"task": kill.task}, by="kernel")

    def _first_to_tell(self, container_id: str) -> bool:
        now = time.monotonic()
        with self._oom_lock:
            self._oom_told = {key: at for key, at in self._oom_told.items() if now - at < _SAME_KILL_S}
            return self._oom_told.setdefault(container_id, now) == now

    def _container(self, action: str, facts: ContainerFacts, at: float, details: dict[str, Any], by: str = "dockerd") -> None:
        kind = _KINDS.get(action)
        if kind is not None:
            owner = container_owner(facts, self._people.now(people_of([facts])))
            about = {"image": facts.image, "origin": facts.labels.get("ds01.kind", ""), **details}
            self._journal.emit(Event(kind, at, owner.user, owner.uid, facts.name, facts.id, by=by, details=about))

    def run(self) -> None:
        """Look after every change (at most every fifth of a second) and at least every few seconds."""
        while not self.ended.is_set():
            self.woken.wait(_SAY_AGAIN_S)
            self.woken.clear()
            self.look()
            self.ended.wait(_QUIET_S)

    def look(self) -> None:
        """One look. A mistake in it costs this look and is counted; the next one is made all the same."""
        begun = time.monotonic()
        failed = 0
        try:
            self._look()
            self._log.read()
        except Exception:
            failed = 1
            _LOG.exception("a look failed")
        self.looked_at = time.monotonic()
        own = self._own
        self._own = OwnHealth(own.looks + 1, own.failed + failed, own.seconds + self.looked_at - begun, time.time())

    def _look(self) -> None:
        """Picture, inventory, events."""
        for action, facts in self._docker.concluded():
            self._container(action, facts, time.time(), {"concluded": True})
        picture = self._picture = self._painter.paint()
        fresh = picture.inventory.read_at != self._looked
        self._looked = picture.inventory.read_at
        if fresh:
            self._busy.take(time.monotonic(), picture.sensors)
        self._publish(picture)
        self._compare(picture, picture.answered if fresh and picture.gpu_error is None else frozenset())
        events, self._parts = part_changes(self._parts, self._fare(picture), picture.at, time.clock_gettime(time.CLOCK_BOOTTIME))
        for event in events:
            self._journal.emit(event)
        self._remember()

    def _compare(self, picture: Picture, answered: frozenset[str]) -> None:
        """What is new since the last look; ``answered``: the GPUs of which it brought word."""
        memory, at = self._memory, picture.at
        ended = frozenset(key for key in memory.seen.processes if not _lives(key)) if picture.failed or picture.gpu_error else frozenset()
        events, seen = changes(memory.seen, picture.workloads, at, answered=answered, ended=ended)
        moved, layouts = layout_changes(memory.layouts, picture.inventory, answered, at)
        events += moved
        events += xid_changes(memory.xids, picture.xids, at)
        permits = self._permits(at)
        events += permit_changes(memory.permits, permits, at)
        self._memory = replace(memory, seen=seen, layouts=layouts, xids=picture.xids, permits=permits, heard_nano=self._docker.heard_nano())
        for event in events:
            self._journal.emit(event)

    def _fare(self, picture: Picture) -> dict[str, Part]:
        """How each part fares. One that has never answered is given time to begin."""
        parts = {
            "docker": Part(None if picture.docker_away is None else picture.docker_error or "no answer"),
            "gpu": Part(picture.gpu_error, _GPU_PATIENCE_S),
        }
        for gpu in picture.inventory.gpus:
            why = None if gpu.uuid in picture.sensors else picture.failed.get(gpu.uuid) or "lost"
            parts[f"gpu {gpu.uuid}"] = Part(why, _GPU_PATIENCE_S)
        early = time.monotonic() - self._began < FIRST_WORD_S
        self._answered_once |= {name for name, part in parts.items() if part.why is None}
        return {name: part for name, part in parts.items() if not early or name in self._answered_once}

    def _remember(self) -> None:
        same = replace(self._memory, seen=replace(self._memory.seen, streaks={}), xids={}, layouts=replace(self._memory.layouts, seen={}))
        if same == self._saved:
            return
        try:
            save(self._memory, self._paths[1])
            self._saved = same
        except OSError as error:
            _LOG.error("%s: %s; a restart may tell some things twice", self._paths[1], error)

    def _publish(self, picture: Picture) -> None:
        # Seconds since boot tell readers how old this is, whatever the wall clock does.
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        gpus = gpu_entries(picture.inventory, picture.sensors, self._busy.percents(time.monotonic()))
        found = document(picture.workloads, picture.inventory, picture.at, picture.sources())
        try:
            json_state.write(self._paths[0], {**found, "uptime": uptime, "gpus": gpus})
        except OSError as error:
            _LOG.error("%s: %s; the inventory there is as old as its time says", self._paths[0], error)


def _lives(identity: Identity) -> bool:
    """Whether a process that was reported is there still."""
    name, ticks = identity
    facts = read_process(int(name), memory=False) if name.isdigit() and ticks else None
    return not ticks or (facts is not None and facts.start_ticks == ticks)
