# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What lies ahead for containers, as lines for people. Imports little: it runs at every login."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .lifecycle_reason import Reason
from .plain_words import clock, span

HEADER = ("CONTAINER", "KIND", "STATE", "IDLE", "RUNTIME", "NEXT")


def _spent(prospects: Mapping[str, Mapping[str, Any]], reason: Reason, one: Mapping[str, Any]) -> str:
    found = prospects.get(reason.value)
    if found is None:
        return "exempt" if reason.value in one["exempt"] else "no limit" if one["activity"] is not None else ""
    return f"{span(found['spent_s'])} of {span(found['limit_s'])}"


def next_step(one: Mapping[str, Any]) -> str:
    """What happens next and when, in words."""
    if one["protected"]:
        return "left alone (the platform's own)"
    if one["stopping"]:
        return "being stopped"
    if not one["prospects"]:
        return "nothing" if one["activity"] is not None else "kept"
    first = one["prospects"][0]
    when = clock(first["at"], one["time"])
    if first["reason"] == Reason.IDLE.value:
        told = f"stop at {when} unless active" if not first["paused"] else f"stop at {when} at the earliest, if idle from now"
    elif first["reason"] == Reason.RUNTIME.value:
        told = f"stop at {when}"
    elif first["reason"] == Reason.MAINTENANCE.value:
        told = f"stop at {when} for maintenance"
    else:
        told = f"removed at {when}"
    return told + (" (warned)" if first["warned"] else "")


def row(one: Mapping[str, Any]) -> tuple[str, ...]:
    """One container as a line under ``HEADER``."""
    prospects = {found["reason"]: found for found in one["prospects"]}
    name = f"{one['user'] or 'nobody'}/{one['container']}"
    if one["protected"]:
        return name, one["kind"], one["state"], "", "", next_step(one)
    state = one["activity"] if one["activity"] is not None and one["state"] == "running" else one["state"]
    return name, one["kind"], state, _spent(prospects, Reason.IDLE, one), _spent(prospects, Reason.RUNTIME, one), next_step(one)


def rows(entries: Iterable[Mapping[str, Any]]) -> Sequence[tuple[str, ...]]:
    """All lines, what happens first on top, what happens to nothing last."""

    def order(one: Mapping[str, Any]) -> tuple[bool, float, str]:
        ahead = [found["at"] for found in one["prospects"] if not found["paused"]]
        return (not ahead, min(ahead, default=0.0), str(one["container"]))

    return [row(one) for one in sorted(entries, key=order)]
