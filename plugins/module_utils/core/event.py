# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The event log's kinds and its line: one JSON object a line, in a form that a query can test without parsing.

The keys come in a fixed order and without blanks, so that ``"user":"NAME"`` in a line's bytes means what it says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

SCHEMA_VERSION = 1
LINE_LIMIT = 4096
"""Bytes of one line, newline included: an append of that much is one write."""

KINDS: Mapping[str, str] = {
    "container.create": "a container was created",
    "container.start": "a container was started",
    "container.stop": "a container was stopped on somebody's request",
    "container.die": "a container's main process ended (details.exit_code)",
    "container.oom": "the kernel killed a process of a container for want of memory",
    "container.remove": "a container was removed",
    "claim.granted": "GPUs were given to a container",
    "claim.refused": "a request for GPUs was refused (details.rule, details.why)",
    "claim.held": "a stopped container keeps its GPUs until details.until",
    "claim.released": "GPUs were given back (details.why)",
    "claim.quarantined": "GPUs stay taken though their container does not run: a process of it lives (details.why)",
    "claim.restarted": "a container that dockerd could not start by itself was given GPUs and started",
    "queue.joined": "somebody joined the queue for GPUs",
    "queue.offered": "a device is kept for somebody whose turn it is",
    "queue.withdrawn": "an offer was taken back because its device is not to be had any more; the place is kept",
    "queue.left": "somebody left the queue (details.why)",
    "reservation.made": "an administrator reserved devices",
    "reservation.ended": "a reservation ended",
    "grant.made": "somebody may use GPUs outside containers, or was let off a lifecycle rule (details.from, details.until)",
    "grant.ended": "that permission ended (details.why)",
    "mig.changed": "the MIG layout changed (details.actions)",
    "gpu.xid": "the driver reported an error of a GPU (details.xid, details.count)",
    "policy.changed": "a new policy is in force",
    "policy.rejected": "a new policy was not taken (details.errors); the last good one stays",
    "gate.denied": "the gate refused a request (details.rule)",
    "guard.refused": "the runtime guard stopped a container from starting",
    "lifecycle.warned": "somebody was warned (details.why, details.at)",
    "lifecycle.unknown": "for details.for_s seconds it has not been known whether a container is used: its idle clock stands still",
    "lifecycle.withdrawn": "an announced stop is off (details.why)",
    "lifecycle.failed": "the platform could not stop or remove a container (details.why, details.error)",
    "lifecycle.stopped": "the platform stopped a container (details.why and the numbers)",
    "lifecycle.removed": "the platform removed a container (details.why)",
    "host_process.seen": "a process uses a GPU outside any container",
    "host_process.gone": "it no longer does",
    "workload.seen": "a container with GPU access appeared that the gate did not make",
    "maintenance.begun": "from details.from on no container starts",
    "maintenance.ended": "containers may start again",
    "broadcast.sent": "an administrator told everybody something (details.text)",
    "health.changed": "a part of the platform changed its state (details.part, details.state; details.away_s after a gap)",
}


@dataclass(frozen=True)
class Event:
    """``time`` is seconds since the epoch, UTC. ``by`` is who caused it: a user, or a program of the platform."""

    kind: str
    time: float
    user: str | None = None
    uid: int | None = None
    container: str | None = None
    container_id: str | None = None
    gpus: tuple[str, ...] = ()
    by: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds: sorts as text."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def line(event: Event) -> bytes:
    """The line of ``event``, newline included, at most LINE_LIMIT bytes: details that are too long are replaced by their size.

    Raises ValueError for a kind that is not in KINDS.
    """
    if event.kind not in KINDS:
        raise ValueError(f"event kind {event.kind!r} is not one of {', '.join(KINDS)}")
    record: dict[str, Any] = {"time": timestamp(event.time), "v": SCHEMA_VERSION, "kind": event.kind}
    for key in ("user", "uid", "container", "container_id", "by"):
        value = getattr(event, key)
        if value not in (None, ""):
            record[key] = value
    if event.gpus:
        record["gpus"] = list(event.gpus)
    if event.details:
        record["details"] = dict(event.details)
    encoded = _encode(record)
    if len(encoded) > LINE_LIMIT:
        record["details"] = {"truncated_bytes": len(_encode(record.get("details", {})))}
        encoded = _encode(record)
    if len(encoded) > LINE_LIMIT:
        for key in ("gpus", "container", "by", "user"):
            record.pop(key, None)
        encoded = _encode(record)
    return encoded


def _encode(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=True, default=str).encode() + b"\n"
