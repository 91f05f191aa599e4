# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What ``/ds01/v1/`` answers: facts looked up here, documents made by core."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ds01 import json_state
from ds01.allocator import Allocator
from ds01.cgroup_fs import CgroupFs
from ds01.core import v1_documents, v1_shared
from ds01.core.event import KINDS
from ds01.core.event_query import EventQuery
from ds01.core.gate.identity import OWNER_LABEL
from ds01.core.refusal import Refusal
from ds01.core.request_text import parse_request_text
from ds01.core.slice_names import user_slice
from ds01.core.v1_table import USUAL_EVENTS, openapi
from ds01.docker_upstream import DaemonRefused, DaemonUnavailable, DockerClient, label_filter
from ds01.event_log import EventLog
from ds01.json_state import StateError
from ds01.policy_file import PolicyFile
from ds01_gate.caller import Caller
from ds01_gate.recorder import Recorder
from ds01_gate.turn_keeper import TurnKeeper
from ds01_gate.v1_api import BadRequest, Handler

_CPU_USAGE = re.compile(r"^usage_usec (\d+)$", re.MULTILINE)
_EVENTS_SINCE_S = 7 * 86400
_READERS = 2
Given = Mapping[str, Any]


@dataclass(frozen=True)
class Sources:
    """Where the answers come from. ``inventory`` is the watcher's file; ``clock`` gives seconds since the epoch, UTC."""

    allocator: Allocator
    docker: DockerClient
    policies: PolicyFile
    cgroups: CgroupFs
    turns: TurnKeeper
    recorder: Recorder
    events: EventLog
    inventory: str
    clock: Callable[[], float] = time.time


class V1Handlers:
    """One for the process."""

    def __init__(self, sources: Sources) -> None:
        self._from = sources
        self._readers = threading.BoundedSemaphore(_READERS)
        self._description = openapi()

    def table(self) -> dict[tuple[str, str], Handler]:
        """The handler of every line of ``core.v1_table``."""
        return {
            ("GET", "me"): lambda caller, _: v1_documents.me(caller.limits, caller.uid),
            ("GET", "limits"): lambda caller, _: v1_documents.limits(caller.limits),
            ("GET", "claims"): self._claims,
            ("GET", "status"): self._status,
            ("GET", "usage"): self._usage,
            ("GET", "health"): self._health,
            ("GET", "queue"): self._queue,
            ("POST", "queue"): self._join,
            ("DELETE", "queue"): self._leave,
            ("GET", "reservations"): self._reservations,
            ("GET", "workloads"): self._workloads,
            ("GET", "events"): self._events,
            ("GET", "openapi.json"): lambda _caller, _given: self._description,
        }

    def _claims(self, caller: Caller, _: Given) -> dict[str, Any]:
        return v1_documents.claims(self._from.allocator.claims(), caller.uid, caller.identity.admin)

    def _status(self, caller: Caller, _: Given) -> dict[str, Any]:
        allocator = self._from.allocator
        held = (*allocator.claims(), *self._from.turns.kept_for_waiters())
        return v1_documents.status(allocator.inventory(), held, caller.uid, caller.identity.admin)

    def _usage(self, caller: Caller, _: Given) -> dict[str, Any]:
        running = self._from.docker.call("GET", f"/containers/json?{label_filter(f'{OWNER_LABEL}={caller.identity.user}')}")
        return v1_documents.usage(caller.limits, self._from.allocator.claims(), caller.uid, len(running), self._kernel(caller.uid))

    def _health(self, caller: Caller, _: Given) -> dict[str, Any]:
        try:
            self._from.docker.call("GET", "/version")
            docker = True
        except (DaemonRefused, DaemonUnavailable):
            docker = False
        problem = self._from.policies.problem
        document: dict[str, Any] = {"docker": docker, "policy": problem is None, "ok": docker and problem is None}
        if caller.identity.admin:
            document.update(policy_problem=problem, events_lost=self._from.recorder.lost)
        return document

    def _queue(self, caller: Caller, _: Given) -> dict[str, Any]:
        places = self._from.turns.places(self._from.allocator.moment())
        return v1_shared.queue(((p.waiter, p.position, p.expected_at) for p in places), caller.uid, caller.identity.admin)

    def _join(self, caller: Caller, given: Given) -> dict[str, Any]:
        try:
            request = parse_request_text(given["request"])
        except ValueError as error:
            raise BadRequest(400, str(error)) from None
        impossible = self._from.allocator.check(caller.limits, request)
        if impossible is not None:
            raise impossible
        joined = self._from.turns.join(caller.limits, caller.uid, request.text())
        self._from.allocator.arrange()
        for place in self._from.turns.places(self._from.allocator.moment()):
            if place.waiter.id == joined.id:
                return v1_shared.entry(place.waiter, place.position, place.expected_at)
        return v1_shared.entry(joined, 0, None)

    def _leave(self, caller: Caller, _: Given) -> dict[str, Any]:
        own = self._from.turns.entry(caller.uid)
        left = own is not None and self._from.turns.leave(own.id, "left")
        if left:
            self._from.allocator.arrange()
        return {"left": left}

    def _reservations(self, caller: Caller, _: Given) -> dict[str, Any]:
        limits, now = caller.limits, self._from.clock()
        found = self._from.allocator.moment().reservations
        return v1_shared.reservations(found, limits.user, limits.group, caller.identity.admin, now)

    def _workloads(self, caller: Caller, _: Given) -> dict[str, Any]:
        published = json_state.read(self._from.inventory)
        if not isinstance(published, dict) or not {"v", "time", "sources", "workloads"} <= published.keys():
            raise StateError(
                "the watcher has published no inventory since boot; an administrator sees why with: systemctl status ds01-watch"
            )
        return v1_shared.workloads(published, caller.uid, caller.identity.admin)

    def _events(self, caller: Caller, given: Given) -> dict[str, Any]:
        user, admin = caller.identity.user, caller.identity.admin
        if not admin and given.get("user", user) != user:
            why = "other people's are for administrators"
            raise Refusal("reading these events is refused", why, "See your own: ds01 events", rule="events-others")
        kind = given.get("kind")
        if kind is not None and not (kind in KINDS or (kind.endswith(".*") and any(one.startswith(kind[:-1]) for one in KINDS))):
            raise BadRequest(400, f"kind={ascii(kind)[:60]}: there is no such kind of event; see: ds01 events --kind help")
        since = float(given.get("since", max(0.0, self._from.clock() - _EVENTS_SINCE_S)))
        until = float(given["until"]) if "until" in given else None
        try:
            query = EventQuery(given.get("user") if admin else user, given.get("container"), given.get("gpu"), kind, since, until)
            query.span()
        except (ValueError, OverflowError, OSError):
            raise BadRequest(400, "since or until: expected seconds since the epoch, within this calendar") from None
        if not self._readers.acquire(timeout=10.0):
            raise Refusal("reading events", "too many people read them now", "Try again in a moment.", rule="events-busy", status=429)
        try:
            found = self._from.events.last(query, given.get("limit", USUAL_EVENTS))
            return {"events": [record for record in found if admin or v1_shared.own_event(record, user, caller.uid)]}
        except FileNotFoundError:
            return {"events": []}  # Nothing has been recorded yet.
        finally:
            self._readers.release()

    def _kernel(self, uid: int) -> dict[str, int | None]:
        path = self._from.cgroups.path(user_slice(uid))
        cpu = _CPU_USAGE.search(_text(path / "cpu.stat"))
        return {
            "memory": _number(path / "memory.current"),
            "tasks": _number(path / "pids.current"),
            "cpu_seconds": int(cpu.group(1)) // 1_000_000 if cpu else None,
        }


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None
