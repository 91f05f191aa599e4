# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A reservation: devices that only some people may be given between two moments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reservation:
    """``devices`` are device keys or GPU UUIDs (a GPU and every instance on it). Times are seconds since the epoch, UTC.

    It is in force from ``start`` up to, not including, ``end``. Holders are users by name or groups of the policy.
    """

    id: str
    devices: frozenset[str]
    users: frozenset[str]
    groups: frozenset[str]
    start: float
    end: float
    reason: str = ""

    def covers(self, key: str, gpu_uuid: str, now: float) -> bool:
        """True while it is in force for that device."""
        return self.start <= now < self.end and (key in self.devices or gpu_uuid in self.devices)

    def begins_within(self, key: str, gpu_uuid: str, now: float, until: float) -> bool:
        """True when it comes into force for that device after ``now`` and before ``until``."""
        return now < self.start < until and (key in self.devices or gpu_uuid in self.devices)

    def overlaps(self, start: float, end: float) -> bool:
        """True when there is a moment in both."""
        return self.start < end and start < self.end

    def is_for(self, user: str, group: str) -> bool:
        """True for a person whom it was made for."""
        return user in self.users or group in self.groups


def covering(reservations: Iterable[Reservation], key: str, gpu_uuid: str, now: float) -> list[Reservation]:
    """The reservations in force for one device, in the order given."""
    return [r for r in reservations if r.covers(key, gpu_uuid, now)]


def ahead(
    reservations: Iterable[Reservation], key: str, gpu_uuid: str, now: float, until: float, user: str, group: str
) -> list[Reservation]:
    """Other people's reservations of one device that come into force before ``until``, in the order given."""
    return [r for r in reservations if r.begins_within(key, gpu_uuid, now, until) and not r.is_for(user, group)]


def reservation_to_dict(reservation: Reservation) -> dict[str, Any]:
    """The reservation as JSON values, read back by ``reservation_from_dict``."""
    return {
        "id": reservation.id,
        "devices": sorted(reservation.devices),
        "users": sorted(reservation.users),
        "groups": sorted(reservation.groups),
        "start": reservation.start,
        "end": reservation.end,
        "reason": reservation.reason,
    }


def reservation_from_dict(data: Mapping[str, Any]) -> Reservation:
    """One reservation from JSON values; raises ValueError naming the key that is wrong."""
    name = data.get("id")
    if not isinstance(name, str) or not name:
        raise ValueError(f"reservation id {name!r}: expected a name")
    lists = {key: _names(name, data, key) for key in ("devices", "users", "groups")}
    start, end = (_moment(name, data, key) for key in ("start", "end"))
    if end <= start:
        raise ValueError(f"reservation {name}: end {end} is not after start {start}")
    if not lists["devices"]:
        raise ValueError(f"reservation {name}: devices is empty; expected device keys or GPU UUIDs")
    if not lists["users"] and not lists["groups"]:
        raise ValueError(f"reservation {name}: neither users nor groups; nobody could use it")
    return Reservation(name, lists["devices"], lists["users"], lists["groups"], start, end, str(data.get("reason", "")))


def _names(reservation: str, data: Mapping[str, Any], key: str) -> frozenset[str]:
    value = data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
        raise ValueError(f"reservation {reservation}: {key}={value!r}: expected a list of names")
    return frozenset(value)


def _moment(reservation: str, data: Mapping[str, Any], key: str) -> float:
    value = data.get(key)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"reservation {reservation}: {key}={value!r}: expected seconds since the epoch, UTC")
    return float(value)
