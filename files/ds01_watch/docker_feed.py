# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Follows Docker's events and keeps the table of all containers; survives dockerd's restarts without inventing exits.

After every (re)connection the table is reconciled with dockerd's own list. While dockerd is away the table stays as it was, its age known.
Events are resumed from the last one seen, so that none is lost in between; those that come twice are dropped by their time.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ds01.container_reader import BUNDLE_ROOTS, read_container
from ds01.core.workload_facts import ContainerFacts
from ds01.docker_upstream import DaemonRefused, DaemonUnavailable, DockerClient

_ACTIONS = ("create", "start", "die", "oom", "destroy", "rename", "update", "stop", "kill")
_LONGEST_WAIT_S = 10.0


class DockerFeed:
    """``on_event(action, facts, event)`` is called for each container event, ``changed()`` after each change of the table."""

    def __init__(
        self,
        docker: DockerClient,
        on_event: Callable[[str, ContainerFacts, dict[str, Any]], None],
        changed: Callable[[], None],
        bundle_roots: tuple[str, ...] = BUNDLE_ROOTS,
    ) -> None:
        self._docker = docker
        self._bundle_roots = bundle_roots
        self._on_event = on_event
        self._changed = changed
        self._lock = threading.Lock()
        self._table: dict[str, ContainerFacts] = {}
        self._seen_nano = 0
        self._lost_at: float | None = time.monotonic()
        self._error: str | None = "dockerd has not answered yet"
        self._pause: queue.Queue[None] = queue.Queue()

    def start(self) -> None:
        """Start the feed's thread."""
        threading.Thread(target=self._run, name="docker-feed", daemon=True).start()

    def containers(self) -> tuple[ContainerFacts, ...]:
        """Every container, by name."""
        with self._lock:
            return tuple(sorted(self._table.values(), key=lambda facts: facts.name))

    def trouble(self) -> tuple[float | None, str | None]:
        """For how many seconds dockerd has been away (None: it is there), and what was wrong."""
        with self._lock:
            return (None, None) if self._lost_at is None else (time.monotonic() - self._lost_at, self._error)

    def _run(self) -> None:
        wait = 0.1
        while True:
            try:
                for event in self._events():
                    wait = 0.1
                    self._take(event)
                self._lose("the stream of events ended")
            except (DaemonUnavailable, DaemonRefused, OSError, ValueError, KeyError) as error:
                self._lose(str(error))
            try:
                self._pause.get(timeout=wait)
            except queue.Empty:
                wait = min(wait * 2, _LONGEST_WAIT_S)

    def _events(self) -> Iterator[dict[str, Any]]:
        if not self._seen_nano:
            self._seen_nano = time.time_ns()
        since = f"{self._seen_nano // 10**9}.{self._seen_nano % 10**9:09d}"
        link, events = self._docker.events({"filters": '{"type":["container"]}', "since": since})
        try:
            self.reconcile()
            yield from events
        finally:
            link.close()

    def reconcile(self) -> None:
        """Make the table say what dockerd says."""
        listed = {entry["Id"] for entry in self._docker.call("GET", "/containers/json?all=1")}
        fresh = {found.id: found for found in (self._read(one) for one in listed) if found is not None}
        with self._lock:
            self._table = fresh
            self._lost_at = self._error = None
        self._changed()

    def _read(self, container_id: str) -> ContainerFacts | None:
        return read_container(self._docker, container_id, self._bundle_roots)

    def _take(self, event: dict[str, Any]) -> None:
        action = str(event.get("Action", "")).partition(":")[0]
        at = int(event.get("timeNano", 0))
        if action not in _ACTIONS or at <= self._seen_nano:
            return
        self._seen_nano = at
        container_id = str(event["Actor"]["ID"])
        with self._lock:
            before = self._table.get(container_id)
        facts = None if action == "destroy" else self._read(container_id)
        facts_then = facts or before or _from_event(container_id, event)
        with self._lock:
            if facts is None:
                self._table.pop(container_id, None)
            else:
                self._table[container_id] = facts
        self._on_event(action, facts_then, event)
        self._changed()

    def _lose(self, why: str) -> None:
        with self._lock:
            if self._lost_at is None:
                self._lost_at = time.monotonic()
            self._error = why
        self._changed()


def _from_event(container_id: str, event: dict[str, Any]) -> ContainerFacts:
    """What the event alone tells of a container that was gone before it could be asked about."""
    attributes = dict(event["Actor"].get("Attributes") or {})
    base = ContainerFacts(
        "docker", container_id, attributes.pop("name", container_id[:12]), image=attributes.pop("image", ""), running=False
    )
    return replace(base, labels=attributes)
