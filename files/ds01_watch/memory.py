# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What one watcher leaves for the next within a boot, so that a restart tells nothing twice and misses little: /run/ds01/watch.json."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ds01 import json_state
from ds01.core import workload_changes
from ds01.core.bare_metal import grant_from_dict, grant_to_dict
from ds01.core.layout_changes import Layouts, XidCounts
from ds01.core.permit_changes import Permits
from ds01.core.reservation import reservation_from_dict, reservation_to_dict
from ds01.core.workload_changes import Seen

_LOG = logging.getLogger("ds01.watch")
VERSION = 1


@dataclass(frozen=True)
class Memory:
    """``heard_nano``: the time of the last of Docker's events; the rest is what the comparing functions remember."""

    heard_nano: int = 0
    seen: Seen = field(default_factory=Seen)
    layouts: Layouts = field(default_factory=Layouts)
    xids: XidCounts = field(default_factory=dict)
    permits: Permits | None = None


def to_dict(memory: Memory) -> dict[str, Any]:
    """As JSON values; what began with this process (XIDs) and what only two looks in a row mean is left out."""
    permits = memory.permits
    return {
        "v": VERSION,
        "heard_nano": memory.heard_nano,
        "seen": workload_changes.to_dict(memory.seen),
        "layouts": {uuid: list(layout) for uuid, layout in memory.layouts.settled.items()},
        "permits": None
        if permits is None
        else {
            "reservations": [reservation_to_dict(one) for one in permits.reservations],
            "grants": [grant_to_dict(one) for one in permits.grants],
        },
    }


def from_dict(data: Any) -> Memory:
    """What ``to_dict`` wrote. Raises ValueError for anything else."""
    try:
        if data["v"] != VERSION:
            raise ValueError(f"v={data['v']!r}: expected {VERSION}")
        permits: Mapping[str, Any] | None = data["permits"]
        return Memory(
            int(data["heard_nano"]),
            workload_changes.from_dict(data["seen"]),
            Layouts({str(uuid): tuple(map(str, layout)) for uuid, layout in data["layouts"].items()}),
            {},
            None
            if permits is None
            else Permits(
                tuple(reservation_from_dict(one) for one in permits["reservations"]),
                tuple(grant_from_dict(one) for one in permits["grants"]),
            ),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"of another shape ({type(error).__name__}: {error})") from error


def load(path: str) -> Memory:
    """What the last watcher left; nothing where there is no file, or one that is not to be used."""
    try:
        found = json_state.read(path)
        return Memory() if found is None else from_dict(found)
    except (OSError, ValueError) as error:
        _LOG.warning("%s: %s; beginning without it", path, error)
        return Memory()


def save(memory: Memory, path: str) -> None:
    """Replace the file. Raises OSError."""
    json_state.write(path, to_dict(memory), 0o600)
