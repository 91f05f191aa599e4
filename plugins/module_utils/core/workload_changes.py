# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What changed between two looks at the workloads, as events: containers that came around the gate, processes outside containers.

A process outside containers is reported when two looks in a row saw it, so that a query by a monitoring tool is none; it is gone when two
looks in a row did not see it. Nothing is reported gone while its source did not answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .event import Event
from .workload_document import Workload
from .workload_kind import Kind

Identity = tuple[str, int]


@dataclass(frozen=True)
class Seen:
    """What was seen so far: how many looks in a row each loose process was seen (negative: missed), and what was reported."""

    streaks: dict[Identity, int] = field(default_factory=dict)
    processes: dict[Identity, Workload] = field(default_factory=dict)
    containers: frozenset[str] = frozenset()


_LOOKS = 2


def changes(seen: Seen, found: Iterable[Workload], now: float, *, gpu_answered: bool) -> tuple[list[Event], Seen]:
    """The events of this look, and what to remember. ``gpu_answered``: this look brought fresh word from NVML."""
    events: list[Event] = []
    containers = set()
    loose: dict[Identity, Workload] = {}
    for one in found:
        if one.kind is Kind.HOST or (one.container_id is None and not one.kind.tracked):
            loose[one.identity] = one
        elif one.container_id is not None and not one.kind.tracked:
            containers.add(one.container_id)
            if one.container_id not in seen.containers:
                events.append(_event("workload.seen", one, now))
    if not gpu_answered:
        return events, Seen(seen.streaks, seen.processes, frozenset(containers))
    streaks, reported = {}, dict(seen.processes)
    for identity in {*seen.streaks, *loose}:
        before = seen.streaks.get(identity, 0)
        streak = max(before, 0) + 1 if identity in loose else min(before, 0) - 1
        if streak == _LOOKS and identity not in reported:
            reported[identity] = loose[identity]
            events.append(_event("host_process.seen", loose[identity], now))
        if streak <= -_LOOKS:
            gone = reported.pop(identity, None)
            if gone is not None:
                events.append(_event("host_process.gone", gone, now))
            continue
        streaks[identity] = streak
    return events, Seen(streaks, reported, frozenset(containers))


def _event(kind: str, one: Workload, now: float) -> Event:
    details: dict[str, object] = {"kind": one.kind.value, "origin": one.origin, "attributed_by": one.owner.how}
    if one.processes:
        details.update(pid=one.processes[0].pid, command=one.processes[0].command[:200])
    return Event(
        kind,
        now,
        user=one.owner.user,
        uid=one.owner.uid,
        container=one.name if one.container_id else None,
        container_id=one.container_id,
        gpus=tuple(uuid for uuid, _ in one.gpus),
        by="ds01-watch",
        details=details,
    )
