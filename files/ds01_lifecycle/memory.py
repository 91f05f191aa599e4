# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What one sweep leaves for the next, and what it publishes for people: one file each, written by rename, each by itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ds01 import json_state
from ds01.core.lifecycle_history import History
from ds01.core.lifecycle_state import NOTHING_WATCHED, histories_of, lasting, told_of, volatile, watched_of
from ds01.core.queue_notices import Watched

from .settings import Places

_LOG = logging.getLogger("ds01.lifecycle")
EVERYBODY = "all.json"


@dataclass(frozen=True)
class Memory:
    """``told``: by uid, of which quotas the person has been told that they are near. ``queue``: which turns were told of."""

    histories: Mapping[str, History]
    told: Mapping[int, frozenset[str]]
    queue: Watched = NOTHING_WATCHED


def _read(path: str) -> Any:
    try:
        return json_state.read(path)
    except (json_state.StateError, OSError) as error:
        _LOG.error("%s; containers begin anew", error)
        return None


def boot_id(proc: str) -> str:
    """The kernel's name for this boot."""
    with open(f"{proc}/sys/kernel/random/boot_id", encoding="ascii") as stream:
        return stream.read().strip()


def load(places: Places, boot: str) -> Memory:
    """What the last sweep left; damaged files are said and forgotten."""
    kept = _read(places.lasting)
    return Memory(histories_of(_read(places.volatile), kept, boot), told_of(kept), watched_of(kept))


def save(places: Places, boot: str, memory: Memory) -> None:
    """Leave it for the next sweep. Raises OSError: then nothing may be done that needs remembering."""
    json_state.write(places.lasting, lasting(memory.histories, memory.told, boot, memory.queue), 0o600)
    json_state.write(places.volatile, volatile(memory.histories, boot), 0o600)


def publish(places: Places, entries: Sequence[Mapping[str, Any]]) -> None:
    """What lies ahead: for root in ``all.json``, for each person in a file that only they can read. Failures are said."""
    try:
        places.outlook.mkdir(mode=0o755, parents=True, exist_ok=True)
        json_state.write(str(places.outlook / EVERYBODY), {"containers": list(entries)}, 0o640)
        people: dict[int, list[Mapping[str, Any]]] = {}
        for one in entries:
            if one["uid"] is not None:
                people.setdefault(int(one["uid"]), []).append(one)
        for uid, own in people.items():
            json_state.write(str(places.outlook / f"{uid}.json"), {"containers": own}, 0o400, uid)
        for path in places.outlook.glob("*.json"):
            if path.stem.isdigit() and int(path.stem) not in people:
                path.unlink()
    except OSError as error:
        _LOG.error("what lies ahead could not be published: %s", error)
