# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The documents that ``/ds01/v1/…`` answers with, made from facts: pure, so that what a person may learn is tested here.

Nobody learns whose another person's container is: a device that someone else holds is ``busy`` and no more, except for admins.
Sizes are bytes, durations seconds, times seconds since the epoch (UTC), GPU-equivalents decimal numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from fractions import Fraction
from typing import Any

from .claim import Claim
from .devices import Gpu, Inventory, MigInstance
from .limits import Limits

Document = dict[str, Any]
_KEPT = ("disk", "volumes", "images")


def _number(value: Fraction | None) -> float | None:
    return None if value is None else round(float(value), 4)


def me(limits: Limits, uid: int) -> Document:
    """Who the caller is to the platform."""
    return {"user": limits.user, "uid": uid, "group": limits.group, "admin": limits.admin, "bare_metal": limits.bare_metal}


def limits(person: Limits) -> Document:
    """What the caller may use, and which rule set each value."""
    return {
        "user": person.user,
        "group": person.group,
        "priority": person.priority,
        "gpu": {
            "equivalents": _number(person.gpu.equivalents),
            "devices_per_container": person.gpu.devices_per_container,
            "full_gpu": person.gpu.full_gpu,
            "by_uuid": person.gpu.by_uuid,
            "profiles": None if person.gpu.profiles is None else list(person.gpu.profiles),
            "pools": list(person.gpu.pools),
            "hours_per_week": person.gpu.hours_per_week,
        },
        "container": {name: getattr(person.container, name) for name in ("count", "cpus", "memory", "shm", "pids", "disk", "volume")},
        "aggregate": {
            name: getattr(person.aggregate, name)
            for name in ("cpus", "memory_high", "memory_max", "tasks", "io_weight", "io_read_bps", "io_write_bps", *_KEPT)
        },
        "lifecycle": {field.name: getattr(person.lifecycle, field.name) for field in fields(person.lifecycle)},
        "bind_roots": [{"path": root.path, "writable": root.writable} for root in person.bind_roots],
        "sources": dict(sorted(person.sources.items())),
    }


def claim(held: Claim) -> Document:
    """One claim, for its owner or an admin."""
    return {
        "id": held.id,
        "user": held.user,
        "container": held.container_name,
        "container_id": held.container_id,
        "request": held.request,
        "equivalents": _number(held.equivalents),
        "granted_at": held.granted_at,
        "held_until": held.held_until,
        "ending_since": held.ending_since,
        "devices": [
            {"gpu": one.gpu_uuid, "profile": one.profile, "memory_mib": one.memory_mib, "mig_uuid": one.mig_uuid} for one in held.devices
        ],
    }


def claims(held: Iterable[Claim], uid: int, admin: bool) -> Document:
    """The caller's claims; an admin's answer has everybody's."""
    return {"claims": [claim(one) for one in sorted(held, key=lambda c: (c.granted_at, c.id)) if admin or one.uid == uid]}


def usage(person: Limits, held: Iterable[Claim], uid: int, containers: int, kernel: Document) -> Document:
    """What the caller uses now against their limits. ``kernel``: memory, tasks and cpu_seconds of their slice, or None where unknown."""
    own = [one for one in held if one.uid == uid]
    return {
        "user": person.user,
        "gpu_equivalents": {"used": _number(sum((one.equivalents for one in own), Fraction(0))), "limit": _number(person.gpu.equivalents)},
        "containers": {"used": containers, "limit": person.container.count},
        "memory": {"used": kernel.get("memory"), "limit": person.aggregate.memory_max},
        "tasks": {"used": kernel.get("tasks"), "limit": person.aggregate.tasks},
        "cpus": {"limit": person.aggregate.cpus},
        "claims": [claim(one) for one in own],
    }


def _holder(holders: dict[str, Claim], key: str, uid: int, admin: bool) -> Document:
    held = holders.get(key)
    if held is None:
        return {"state": "free"}
    state: Document = {"state": "held" if held.held_until is not None else "busy"}
    if admin or held.uid == uid:
        state.update(user=held.user, container=held.container_name, claim=held.id, mine=held.uid == uid)
    return state


def _instance(gpu: Gpu, instance: MigInstance, holders: dict[str, Claim], uid: int, admin: bool) -> Document:
    return {
        "profile": instance.profile,
        "memory_mib": instance.memory_mib,
        "equivalents": _number(gpu.equivalents(instance)),
        **_holder(holders, instance.key, uid, admin),
    }


def status(inventory: Inventory, held: Iterable[Claim], uid: int, admin: bool) -> Document:
    """Every device with whether it is free; whose it is only to its holder and to admins."""
    holders = {device.key: one for one in held for device in one.devices}
    gpus = []
    for gpu in inventory.gpus:
        entry: Document = {
            "index": gpu.index,
            "uuid": gpu.uuid,
            "model": gpu.model,
            "memory_mib": gpu.memory_mib,
            "mig": gpu.mig_enabled,
            "healthy": gpu.healthy,
            "pool": gpu.pool,
        }
        if gpu.mig_enabled:
            entry["instances"] = [_instance(gpu, instance, holders, uid, admin) for instance in gpu.instances]
        else:
            entry.update(equivalents=1.0, **_holder(holders, gpu.key, uid, admin))
        gpus.append(entry)
    return {"gpus": gpus, "driver": inventory.driver, "simulated": inventory.simulated, "read_at": inventory.read_at}
