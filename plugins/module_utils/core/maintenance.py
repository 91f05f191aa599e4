# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Maintenance: from a moment on no container starts, and whoever tries is told why and until when.

What runs goes on, unless it is to be stopped by a deadline (a drain), of which everybody is warned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .lifecycle import Drain
from .quota import moment
from .refusal import Refusal

UNAVAILABLE = 503


@dataclass(frozen=True)
class Maintenance:
    """Times are seconds since the epoch, UTC. ``until`` is when it is expected to end; None: not known. It ends by command only.

    ``drain_by``: when what still runs is stopped; None: it goes on.
    """

    begins: float
    until: float | None
    message: str
    by: str
    set_at: float
    drain_by: float | None = None

    def holds(self, now: float) -> bool:
        """Whether it has begun."""
        return now >= self.begins


def refuses(state: Maintenance | None, now: float) -> Refusal | None:
    """The refusal of a start at ``now``, None where starts are allowed. Containers that run, and everything else, are let alone."""
    if state is None or not state.holds(now):
        return None
    until = "" if state.until is None else f"; it is expected to last until {moment(state.until)}"
    why = f"the server is in maintenance since {moment(state.begins)}{until}: {state.message}"
    return Refusal("starting a container is refused", why, "See: ds01 maintenance status", rule="maintenance", status=UNAVAILABLE)


def announced(state: Maintenance, now: float) -> str:
    """One line for people, before and while it holds."""
    until = "" if state.until is None else f", until about {moment(state.until)}"
    begins = f"since {moment(state.begins)}" if state.holds(now) else f"from {moment(state.begins)}"
    drain = "" if state.drain_by is None else f", and what still runs is stopped at {moment(state.drain_by)}"
    return f"maintenance {begins}{until}: no new containers start{drain}. {state.message}"


def drain_of(state: Maintenance | None, lead: float, now: float, at: float) -> Drain | None:
    """The drain in seconds since boot, at the moment that is ``now`` by the wall clock and ``at`` since boot; None where there is none.

    People are warned ``lead`` seconds before, or for as long as lies between the command and its deadline, where that is less.
    """
    if state is None or state.drain_by is None:
        return None
    return Drain(at + state.drain_by - now, min(lead, max(0.0, state.drain_by - state.set_at)))


def to_dict(state: Maintenance) -> dict[str, Any]:
    """As JSON values; read back by ``from_dict``."""
    return {"v": 1, **asdict(state)}


def from_dict(data: object) -> Maintenance:
    """The state that ``to_dict`` wrote; raises ValueError naming the key and what would be right."""
    if not isinstance(data, Mapping):
        raise ValueError("expected an object")
    for key in ("message", "by"):
        if not isinstance(data.get(key), str):
            raise ValueError(f"{key}={data.get(key)!r}: expected text")
    times: dict[str, float | None] = {}
    for key in ("begins", "until", "set_at", "drain_by"):
        value = data.get(key)
        if not (isinstance(value, (int, float)) and not isinstance(value, bool)) and not (key in ("until", "drain_by") and value is None):
            raise ValueError(f"{key}={value!r}: expected seconds since the epoch")
        times[key] = None if value is None else float(value)
    return Maintenance(message=data["message"], by=data["by"], **times)  # type: ignore[arg-type]
