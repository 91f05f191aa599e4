# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Ties the feeds together: after every change a picture, from it the published inventory and the events of what is new."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
import time
from dataclasses import replace
from typing import Any

from ds01.core.event import Event
from ds01.core.workload_changes import Seen, changes
from ds01.core.workload_document import document, gpu_entries
from ds01.core.workload_facts import ContainerFacts
from ds01.core.workload_owner import container_owner
from ds01.event_log import EventLog
from ds01.known_people import Accounts

from .busy import Busy
from .log_counts import LogCounts
from .picture import Painter, Picture
from .platform_metrics import OwnHealth

_LOG = logging.getLogger("ds01.watch")
_QUIET_S = 0.2
_SAY_AGAIN_S = 5.0
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

    def __init__(self, painter: Painter, events: EventLog, inventory_path: str, log: LogCounts) -> None:
        self.woken = threading.Event()
        self.ended = threading.Event()
        self._painter = painter
        self._events = events
        self._log = log
        self._path = inventory_path
        self._people = Accounts()
        self._seen = Seen()
        self._health: dict[str, str] = {}
        self._busy = Busy()
        self._looked: float | None = None
        self._picture: Picture | None = None
        self._unwritten = 0
        self._own = OwnHealth()

    def health(self) -> OwnHealth:
        """How the watcher itself fares."""
        return replace(self._own, unwritten=self._unwritten)

    def picture(self) -> Picture:
        """The last picture, or a first one."""
        if self._picture is None:
            self._picture = self._painter.paint()
        return self._picture

    def container_event(self, action: str, facts: ContainerFacts, event: dict[str, Any]) -> None:
        """Called by the docker feed for each event: it goes to the event log with whose container it was and how that was made."""
        kind = _KINDS.get(action)
        if kind is None:
            return
        owner = container_owner(facts, self._people.now(set()))
        attributes = event["Actor"].get("Attributes") or {}
        details: dict[str, Any] = {"image": facts.image, "origin": facts.labels.get("ds01.kind", "")}
        if action == "die":
            details["exit_code"] = attributes.get("exitCode")
        at = int(event.get("timeNano", 0)) / 1e9
        self.emit(Event(kind, at, owner.user, owner.uid, facts.name, facts.id, by="dockerd", details=details))

    def emit(self, event: Event) -> None:
        """Append to the event log; what cannot be written (a full disk) is said in the journal and counted."""
        try:
            self._events.append(event)
        except OSError as error:
            self._unwritten += 1
            _LOG.error("event log %s: %s; lost: %s of %s", self._events.path, error, event.kind, event.container or event.user)

    def run(self) -> None:
        """Look after every change (at most every fifth of a second) and at least every few seconds."""
        while not self.ended.is_set():
            self.woken.wait(_SAY_AGAIN_S)
            self.woken.clear()
            self.look()
            self._log.read()
            self.ended.wait(_QUIET_S)

    def look(self) -> None:
        """One look. A mistake in it costs this look and is counted; the next one is made all the same."""
        begun = time.monotonic()
        failed = 0
        try:
            self._look()
        except Exception:
            failed = 1
            _LOG.exception("a look failed")
        own = self._own
        self._own = OwnHealth(own.looks + 1, own.failed + failed, own.seconds + time.monotonic() - begun, time.time())

    def _look(self) -> None:
        """Picture, inventory, events."""
        picture = self._painter.paint()
        self._picture = picture
        fresh = picture.inventory.read_at != self._looked
        self._looked = picture.inventory.read_at
        if fresh:
            self._busy.take(time.monotonic(), picture.sensors)
        found, self._seen = changes(self._seen, picture.workloads, picture.at, gpu_answered=fresh and picture.gpu_error is None)
        for event in found:
            self.emit(event)
        self._say_health(picture)
        self._publish(picture)

    def _say_health(self, picture: Picture) -> None:
        for source, state in picture.sources().items():
            now = "ok" if state["ok"] else f"away: {state['error']}"
            before = self._health.get(source)
            if (before or "ok").partition(":")[0] != now.partition(":")[0]:
                self.emit(Event("health.changed", picture.at, by="ds01-watch", details={"part": source, "state": now}))
            self._health[source] = now

    def _publish(self, picture: Picture) -> None:
        # Seconds since boot tell readers how old this is, whatever the wall clock does.
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        gpus = gpu_entries(picture.inventory, picture.sensors, self._busy.percents(time.monotonic()))
        found = document(picture.workloads, picture.inventory, picture.at, picture.sources())
        text = json.dumps({**found, "uptime": uptime, "gpus": gpus})
        directory = os.path.dirname(self._path)
        try:
            handle, name = tempfile.mkstemp(prefix=".inventory.", dir=directory)
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.chmod(name, 0o640)
            os.replace(name, self._path)
        except OSError as error:
            _LOG.error("%s: %s; the inventory there is as old as its time says", self._path, error)
