# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What changed between two looks at the workloads, as events: containers that came around the gate, processes outside containers.

A process outside containers is reported when two looks in a row saw it, so that a query by a monitoring tool is none; it is gone when two
looks in a row did not see it. Nothing is reported gone while a GPU that it was on did not answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .event import Event
from .workload_document import Workload
from .workload_kind import Kind

Identity = tuple[str, int]
"""A process: its pid as text, and when it started in ticks since boot. A group of a container that nobody knows: its id, and 0."""


@dataclass(frozen=True)
class Seen:
    """What was seen so far: how many looks in a row each loose process was seen (negative: missed), the event that reported it, and the
    containers that were reported."""

    streaks: Mapping[Identity, int] = field(default_factory=dict)
    processes: Mapping[Identity, Event] = field(default_factory=dict)
    containers: frozenset[str] = frozenset()


_LOOKS = 2


def changes(
    seen: Seen, found: Iterable[Workload], now: float, *, answered: frozenset[str], ended: frozenset[Identity] = frozenset()
) -> tuple[list[Event], Seen]:
    """The events of this look, and what to remember.

    ``answered``: the GPUs of which this look brought fresh word (none for a look that brought nothing from NVML). ``ended``: processes
    that are known to be no more, whatever their GPU says.
    """
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
    if not answered and not ended:
        return events, Seen(seen.streaks, seen.processes, frozenset(containers))
    streaks, reported = dict(seen.streaks), dict(seen.processes)
    for identity in sorted({*seen.streaks, *loose, *(seen.processes.keys() & ended)}):
        before = seen.streaks.get(identity, 0)
        if identity in loose:
            if not answered.issuperset(uuid for uuid, _ in loose[identity].gpus):
                continue  # this is the word of an earlier look
            streak = max(before, 0) + 1
        elif identity in ended:
            streak = -_LOOKS
        elif not answered or (identity in reported and not answered.issuperset(reported[identity].gpus)):
            continue
        else:
            streak = min(before, 0) - 1
        if streak == _LOOKS and identity not in reported:
            reported[identity] = _event("host_process.seen", loose[identity], now)
            events.append(reported[identity])
        if streak <= -_LOOKS:
            streaks.pop(identity, None)
            gone = reported.pop(identity, None)
            if gone is not None:
                events.append(replace(gone, kind="host_process.gone", time=now))
            continue
        streaks[identity] = streak
    return events, Seen(streaks, reported, frozenset(containers))


def _event(kind: str, one: Workload, now: float) -> Event:
    details: dict[str, object] = {"kind": one.kind.value, "origin": one.origin, "attributed_by": one.owner.how}
    if one.access_by and one.container_id:
        details["access_by"] = one.access_by
    if one.processes:
        details.update(pid=one.processes[0].pid, command=one.processes[0].command[:200])
    return Event(
        kind,
        now,
        user=one.owner.user,
        uid=one.owner.uid,
        container=one.name if one.container_id else None,
        container_id=one.container_id,
        gpus=tuple(dict.fromkeys(uuid for uuid, _ in one.gpus)),
        by="ds01-watch",
        details=details,
    )


def to_dict(seen: Seen) -> dict[str, Any]:
    """As JSON values, for the watcher that comes after this one; read back by ``from_dict``."""
    keys = ("time", "user", "uid", "container", "container_id", "by")
    return {
        "containers": sorted(seen.containers),
        "processes": [
            [name, ticks, {**{key: getattr(event, key) for key in keys}, "gpus": list(event.gpus), "details": dict(event.details)}]
            for (name, ticks), event in sorted(seen.processes.items())
        ],
    }


def from_dict(data: Any) -> Seen:
    """What ``to_dict`` wrote. Raises ValueError for anything else."""
    try:
        processes: dict[Identity, Event] = {}
        for name, ticks, found in data["processes"]:
            known = dict(found)
            known["gpus"] = tuple(map(str, known["gpus"]))
            processes[str(name), int(ticks)] = Event("host_process.seen", **known)
        return Seen(dict.fromkeys(processes, _LOOKS), processes, frozenset(map(str, data["containers"])))
    except (KeyError, TypeError) as error:
        raise ValueError(f"what was seen is of another shape ({type(error).__name__}: {error})") from error
