# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Follows Docker's events and keeps the table of all containers; survives dockerd's restarts without inventing exits.

After every (re)connection the table is reconciled with dockerd's own list. While dockerd is away the table stays as it was, its age known.
Events are resumed from a little before the last one heard, and those that come twice are dropped by what they are: times alone would not
do, because dockerd sends them slightly out of order and a clock can be set back. What a gap swallowed altogether (a dockerd that starts
anew forgets its events) is concluded from the two tables, and said to be concluded.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ds01.container_reader import BUNDLE_ROOTS, from_listing, read_container
from ds01.core.workload_facts import ContainerFacts
from ds01.docker_upstream import DaemonRefused, DaemonUnavailable, DockerClient

_LOG = logging.getLogger("ds01.watch")
_ACTIONS = ("create", "start", "die", "oom", "destroy", "rename", "update", "stop")
_FILTERS = json.dumps({"type": ["container"], "event": list(_ACTIONS)})
_LONGEST_WAIT_S = 10.0
_OVERLAP_NS = 2 * 10**9
_REMEMBERED = 4096
_GRACE_S = 3.0
"""So long after a reconnection dockerd's own word for what changed meanwhile is waited for."""
_LIFE = ("create", "start", "die", "destroy")
"""In this order, for one run of a container."""

Concluded = tuple[str, ContainerFacts]


class DockerFeed:
    """``on_event(action, facts, event)`` is called for each container event, ``changed()`` after each change of the table."""

    def __init__(
        self,
        docker: DockerClient,
        on_event: Callable[[str, ContainerFacts, dict[str, Any]], None],
        changed: Callable[[], None],
        bundle_roots: tuple[str, ...] = BUNDLE_ROOTS,
        heard_nano: int = 0,
    ) -> None:
        """``heard_nano``: time of the last event that the watcher before this one heard, 0 where there was none.

        An event that is told late, because it was concluded and another one shows that dockerd won't say it, has ``concluded`` in it.
        """
        self._docker = docker
        self._bundle_roots = bundle_roots
        self._on_event = on_event
        self._changed = changed
        self._lock = threading.Lock()
        self._table: dict[str, ContainerFacts] = {}
        self._known = False
        self._begun_at = 0.0
        self._heard_nano = heard_nano
        self._begun_nano = 0
        self._heard: deque[tuple[str, str, int]] = deque(maxlen=_REMEMBERED)
        self._concluded: dict[tuple[str, str], tuple[float, ContainerFacts]] = {}
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

    def heard_nano(self) -> int:
        """When the last event that was heard happened, in nanoseconds since the epoch."""
        return self._heard_nano

    def concluded(self) -> list[Concluded]:
        """What must have happened in a gap and dockerd has said nothing of; each once. Order: as it must have been for one container."""
        now = time.monotonic()
        with self._lock:
            due = [key for key, (at, _) in self._concluded.items() if at <= now]
            return [(action, self._concluded.pop((container_id, action))[1]) for container_id, action in due]

    def _run(self) -> None:
        wait = 0.1
        while True:
            try:
                for event in self._events():
                    wait = 0.1
                    self._take(event)
                    self._heard_nano = int(event.get("timeNano", 0))  # now that it is told
                self._lose("the stream of events ended")
            except Exception as error:  # whatever it is: a feed that ends in silence would show yesterday's table for ever
                self._lose(str(error) or type(error).__name__)
            try:
                self._pause.get(timeout=wait)
            except queue.Empty:
                wait = min(wait * 2, _LONGEST_WAIT_S)

    def _events(self) -> Iterator[dict[str, Any]]:
        now = time.time_ns()
        if not self._begun_nano:
            self._begun_nano = self._heard_nano + 1 if self._heard_nano else now
            self._heard_nano = self._heard_nano or now
            self._begun_at = time.monotonic()
        since_nano = min(self._heard_nano, now) - _OVERLAP_NS
        since = f"{since_nano // 10**9}.{since_nano % 10**9:09d}"
        link, events = self._docker.events({"filters": _FILTERS, "since": since})
        try:
            self.reconcile()
            for event in events:
                if self._fresh(event):
                    yield event
        finally:
            link.close()

    def _fresh(self, event: dict[str, Any]) -> bool:
        """Whether this event was heard neither here nor, in the first moments, by the watcher before this one."""
        key = (str(event["Actor"]["ID"]), str(event.get("Action", "")), int(event.get("timeNano", 0)))
        if key in self._heard:
            return False
        self._heard.append(key)
        return not (-_OVERLAP_NS <= key[2] - self._begun_nano < 0 and time.monotonic() - self._begun_at < _GRACE_S)

    def reconcile(self) -> None:
        """Make the table say what dockerd says."""
        listed = {str(entry["Id"]): entry for entry in self._docker.call("GET", "/containers/json?all=1")}
        fresh = {found.id: found for found in (self._read(one, entry) for one, entry in listed.items()) if found is not None}
        with self._lock:
            if self._known:
                due = time.monotonic() + _GRACE_S
                for action, facts in _between(self._table, fresh):
                    self._concluded[facts.id, action] = (due, facts)
            self._table, self._known = fresh, True
            self._lost_at = self._error = None
        self._changed()

    def _read(self, container_id: str, entry: dict[str, Any] | None = None) -> ContainerFacts | None:
        """The container; what the list says of it where dockerd can't tell more, so that a broken one doesn't hide the others."""
        try:
            return read_container(self._docker, container_id, self._bundle_roots)
        except (DaemonRefused, ValueError, KeyError, TypeError) as error:
            _LOG.warning("container %s: %s", container_id[:12], error)
            return None if entry is None else from_listing(entry)

    def _take(self, event: dict[str, Any]) -> None:
        action = str(event.get("Action", "")).partition(":")[0]
        if action not in _ACTIONS:
            return
        container_id = str(event["Actor"]["ID"])
        with self._lock:
            before = self._table.get(container_id)
        then = before or _from_event(container_id, event)
        try:
            facts = None if action == "destroy" else self._read(container_id)
        except DaemonUnavailable:
            # It has gone, and what it had sent before is read to the end.
            facts = _afterwards(action, then)
        with self._lock:
            self._concluded.pop((container_id, action), None)
            earlier = self._earlier(container_id, action, facts)
            if facts is None:
                self._table.pop(container_id, None)
            else:
                self._table[container_id] = facts
        for unsaid, was in earlier:
            self._on_event(unsaid, was, {"Actor": event["Actor"], "timeNano": event.get("timeNano", 0), "concluded": True})
        self._on_event(action, facts or then, event)
        self._changed()

    def _earlier(self, container_id: str, action: str, facts: ContainerFacts | None) -> list[Concluded]:
        """What was concluded and must have been before this event, which dockerd would have told in its turn."""
        found = []
        for unsaid in _LIFE:
            _, was = self._concluded.get((container_id, unsaid), (0.0, None))
            if was is None:
                continue
            last_run = (unsaid, action) == ("die", "start") and facts is not None and facts.started_at != was.started_at
            if last_run or (action in _LIFE and _LIFE.index(unsaid) < _LIFE.index(action)):
                del self._concluded[container_id, unsaid]
                found.append((unsaid, was))
        return found

    def _lose(self, why: str) -> None:
        with self._lock:
            if self._lost_at is None:
                self._lost_at = time.monotonic()
            self._error = why
        self._changed()


def _between(before: dict[str, ContainerFacts], after: dict[str, ContainerFacts]) -> Iterator[Concluded]:
    """What must have happened to containers between two tables."""
    for container_id, old in before.items():
        new = after.get(container_id)
        started_again = new is not None and new.running and old.started_at not in (0.0, new.started_at)
        if old.running and (new is None or not new.running or started_again):
            yield "die", new if new is not None and not started_again else old
        if new is None:
            yield "destroy", old
        elif started_again:
            yield "start", new
    for container_id, new in after.items():
        if container_id not in before:
            yield "create", new
            if new.running or new.started_at:
                yield "start", new
            if new.started_at and not new.running:
                yield "die", new


def _afterwards(action: str, facts: ContainerFacts) -> ContainerFacts | None:
    """The container after an event, as far as the event tells; when it was started is not known then."""
    if action in ("start", "die"):
        return replace(facts, running=action == "start", started_at=0.0)
    return None if action == "destroy" else facts


def _from_event(container_id: str, event: dict[str, Any]) -> ContainerFacts:
    """What the event alone tells of a container that was gone before it could be asked about."""
    attributes = dict(event["Actor"].get("Attributes") or {})
    base = ContainerFacts(
        "docker", container_id, attributes.pop("name", container_id[:12]), image=attributes.pop("image", ""), running=False
    )
    return replace(base, labels=attributes)
