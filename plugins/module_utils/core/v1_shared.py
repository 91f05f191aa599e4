# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Documents of ``/ds01/v1/`` about what people share: the queue, reservations, workloads and events. Pure; what a person may learn of
others is decided here: how many wait before them and when a device is not to be had, and never who or what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .gpu_queue import Waiter
from .reservation import Reservation, reservation_to_dict

Document = dict[str, Any]


def entry(waiter: Waiter, position: int, expected_at: float | None) -> Document:
    """One waiter, for themselves or an administrator. ``position`` 0: a device is kept for them."""
    hold = waiter.hold
    devices = (
        []
        if hold is None
        else [{"gpu": d.gpu_uuid, "profile": d.profile, "memory_mib": d.memory_mib, "mig_uuid": d.mig_uuid} for d in hold.devices]
    )
    return {
        "id": waiter.id,
        "user": waiter.user,
        "request": waiter.request,
        "joined_at": waiter.joined_at,
        "position": position,
        "expected_at": expected_at,
        "container_id": waiter.container_id,
        "offer": None if hold is None else {"devices": devices, "until": hold.until},
    }


def queue(places: Iterable[tuple[Waiter, int, float | None]], uid: int, admin: bool) -> Document:
    """The caller's entries, everybody's for an administrator, first come first; and how many wait in all."""
    known = sorted(places, key=lambda place: (place[1], place[0].joined_at, place[0].id))
    return {
        "waiting": len(known),
        "entries": [entry(*place) for place in known if admin or place[0].uid == uid],
    }


def reservations(found: Iterable[Reservation], user: str, group: str, admin: bool, now: float) -> Document:
    """Those in force or to come: the caller's in full (all for an administrator), the others' as times at which a device is busy."""
    whole: list[Document] = []
    busy: list[Document] = []
    for one in sorted(found, key=lambda r: (r.start, r.id)):
        if one.end <= now:
            continue
        if admin:
            whole.append(reservation_to_dict(one))
        elif one.is_for(user, group):
            mine = reservation_to_dict(one)
            whole.append(
                {**mine, "users": [name for name in mine["users"] if name == user], "groups": [g for g in mine["groups"] if g == group]}
            )
        else:
            busy.append({"devices": sorted(one.devices), "start": one.start, "end": one.end})
    return {"reservations": whole, "busy": busy}


def workloads(published: Mapping[str, Any], uid: int, admin: bool) -> Document:
    """The watcher's document: as it is for an administrator, with the caller's workloads alone for anybody else."""
    if admin:
        return dict(published)
    return {
        "v": published["v"],
        "time": published["time"],
        "uptime": published.get("uptime"),
        "simulated": published.get("simulated", False),
        "sources": {name: {"ok": bool(state.get("ok"))} for name, state in published["sources"].items()},
        "workloads": [one for one in published["workloads"] if one.get("uid") == uid],
    }


def own_event(record: Mapping[str, Any], user: str, uid: int) -> bool:
    """Whether an event is about this person: by name, and by uid where one stands, because names are given anew."""
    return record.get("user") == user and record.get("uid", uid) == uid
