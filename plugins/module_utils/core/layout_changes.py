# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Changes of the MIG layout and XID errors between two looks at the GPUs, as events, whoever made them.

While a layout is changed a look can see half of it: a layout counts when two looks in a row saw it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from .devices import Gpu, Inventory
from .event import Event

BY = "ds01-watch"
Layout = tuple[str, ...]
"""``("off",)``, or ``("on", "3g.20gb@0", …)``: whether MIG is on, and every instance with its place."""


@dataclass(frozen=True)
class Layouts:
    """By GPU UUID: the layout that counts, and what the last look saw."""

    settled: Mapping[str, Layout] = field(default_factory=dict)
    seen: Mapping[str, Layout] = field(default_factory=dict)


def layout_of(gpu: Gpu) -> Layout:
    """The layout of one GPU."""
    if not gpu.mig_enabled:
        return ("off",)
    return ("on", *(f"{one.profile}@{one.start}" for one in sorted(gpu.instances, key=lambda one: one.start)))


def layout_changes(before: Layouts, inventory: Inventory, answered: frozenset[str], at: float) -> tuple[list[Event], Layouts]:
    """The events of this look, and what to remember. Only GPUs that answered are looked at; a first look is no change."""
    events: list[Event] = []
    settled, seen = dict(before.settled), dict(before.seen)
    for gpu in inventory.gpus:
        if gpu.uuid not in answered:
            continue
        layout = layout_of(gpu)
        known = settled.setdefault(gpu.uuid, layout)
        if layout != known and seen.get(gpu.uuid) == layout:
            settled[gpu.uuid] = layout
            details = {"gpu": gpu.index, "actions": _actions(known, layout), "layout": list(layout)}
            events.append(Event("mig.changed", at, gpus=(gpu.uuid,), by=BY, details=details))
        seen[gpu.uuid] = layout
    return events, Layouts(settled, seen)


def _actions(before: Layout, after: Layout) -> list[str]:
    said = []
    if before[0] != after[0]:
        said.append(f"MIG {after[0]}")
    gone, new = Counter(before[1:]), Counter(after[1:])
    said += [f"removed {name}" for name in sorted((gone - new).elements())]
    said += [f"made {name}" for name in sorted((new - gone).elements())]
    return said


XidCounts = Mapping[str, Mapping[str, int]]


def xid_changes(before: XidCounts, now: XidCounts, at: float) -> list[Event]:
    """An event for each number that a GPU reported since the last look. A counter that went back began anew."""
    events = []
    for uuid, counts in sorted(now.items()):
        for number, count in sorted(counts.items()):
            known = before.get(uuid, {}).get(number, 0)
            fresh = count - known if count >= known else count
            if fresh > 0:
                events.append(Event("gpu.xid", at, gpus=(uuid,), by=BY, details={"xid": number, "count": fresh}))
    return events
