# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The queue as it is kept over restarts and reboots: the waiters, and who had how much GPU lately."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from .claim import ClaimedDevice
from .gpu_queue import Hold, Waiter
from .gpu_request import GpuRequest
from .gpu_served import Served

VERSION = 1
_DEVICE = {"key": str, "gpu_uuid": str, "gpu_minor": int, "equivalents": str, "memory_mib": int}
_INSTANCE = {"profile": str, "gi_id": int, "ci_id": int, "mig_uuid": str}


@dataclass(frozen=True)
class QueueState:
    """``charged_at``: up to when claims are counted in ``served`` (seconds since the epoch, UTC)."""

    waiters: tuple[Waiter, ...] = ()
    served: Served = field(default_factory=dict)
    charged_at: float = 0.0


def to_dict(state: QueueState) -> dict[str, Any]:
    """As JSON values; read back by ``from_dict``."""
    return {
        "v": VERSION,
        "charged_at": state.charged_at,
        "served": {str(uid): {str(day): seconds for day, seconds in days.items()} for uid, days in state.served.items()},
        "waiters": [_waiter_to_dict(waiter) for waiter in state.waiters],
    }


def _waiter_to_dict(waiter: Waiter) -> dict[str, Any]:
    hold = waiter.hold
    devices = (
        []
        if hold is None
        else [{**{k: getattr(d, k) for k in (*_DEVICE, *_INSTANCE)}, "equivalents": str(d.equivalents)} for d in hold.devices]
    )
    return {
        **{name: getattr(waiter, name) for name in ("id", "uid", "user", "request", "joined_at", "container_id")},
        "hold": None if hold is None else {"devices": devices, "since": hold.since, "until": hold.until},
    }


def from_dict(data: object) -> QueueState:
    """The state that ``to_dict`` wrote; raises ValueError naming what is wrong."""
    document = _object(data, "the queue")
    if document.get("v") != VERSION:
        raise ValueError(f"v={document.get('v')!r}: expected {VERSION}")
    served = {
        _whole(uid): {_whole(day): _number(seconds, "served") for day, seconds in _object(days, "served").items()}
        for uid, days in _object(document.get("served"), "served").items()
    }
    waiters = tuple(_waiter(one) for one in _list(document.get("waiters"), "waiters"))
    names = [waiter.id for waiter in waiters]
    if len(set(names)) != len(names):
        raise ValueError("waiters: an id stands there twice")
    taken = [key for waiter in waiters if waiter.hold is not None for key in sorted(waiter.hold.keys)]
    if len(set(taken)) != len(taken):
        raise ValueError("waiters: a device is offered twice")
    return QueueState(waiters, served, _number(document.get("charged_at"), "charged_at"))


def _waiter(data: object) -> Waiter:
    found = _object(data, "waiter")
    name = _typed(found, "id", str)
    hold = found.get("hold")
    container = found.get("container_id")
    if container is not None and not isinstance(container, str):
        raise ValueError(f"waiter {name}: container_id={container!r}: expected text")
    request = _typed(found, "request", str)
    GpuRequest.parse(request)
    return Waiter(
        name,
        _typed(found, "uid", int),
        _typed(found, "user", str),
        request,
        _number(found.get("joined_at"), "joined_at"),
        container,
        None if hold is None else _hold(_object(hold, "hold")),
    )


def _hold(data: Mapping[str, Any]) -> Hold:
    devices = tuple(_device(_object(one, "device")) for one in _list(data.get("devices"), "devices"))
    if not devices:
        raise ValueError("hold without devices")
    return Hold(devices, _number(data.get("since"), "since"), _number(data.get("until"), "until"))


def _device(data: Mapping[str, Any]) -> ClaimedDevice:
    values = {key: _typed(data, key, kind) for key, kind in _DEVICE.items()}
    values.update({key: None if data.get(key) is None else _typed(data, key, kind) for key, kind in _INSTANCE.items()})
    try:
        values["equivalents"] = Fraction(values["equivalents"])
    except ZeroDivisionError:
        raise ValueError(f"equivalents={values['equivalents']!r}: expected a fraction") from None
    return ClaimedDevice(**values)


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what}: expected an object")
    return value


def _list(value: object, what: str) -> Sequence[object]:
    if not isinstance(value, list):
        raise ValueError(f"{what}: expected a list")
    return value


def _typed(data: Mapping[str, Any], key: str, kind: type) -> Any:
    value = data.get(key)
    if type(value) is not kind:
        raise ValueError(f"{key}={value!r}: expected {kind.__name__}")
    return value


def _number(value: object, what: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"{what}={value!r}: expected a number")
    return float(value)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r}: expected a whole number")
    return int(text)
