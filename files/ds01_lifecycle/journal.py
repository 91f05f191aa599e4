# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The events and notices that a step of a sweep becomes: one place for their words and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ds01.core import notices
from ds01.core.event import Event
from ds01.core.lifecycle import Puzzled, Remove, Warn, Withdraw
from ds01.core.lifecycle_reason import Reason
from ds01.core.notices import Notice, Whose
from ds01.core.sweep_plan import Overdue, Seen, Step, Stopped

BY = "ds01-lifecycle"


def event(kind: str, seen: Seen, at: float, details: Mapping[str, Any]) -> Event:
    """An event about a container; ``at`` in seconds since the epoch."""
    whose = seen.subject
    return Event(kind, at, whose.user, whose.uid, seen.name, seen.id, by=BY, details={"kind": whose.kind, **details})


def _numbers(step: Step) -> dict[str, Any]:
    history, limits = step.history, step.seen.limits
    numbers: dict[str, Any] = {"idle_s": round(history.idle_s), "run_s": round(history.run_s), "idle_limit_s": limits.idle}
    numbers["runtime_limit_s"] = limits.runtime
    if history.last is not None:
        numbers.update(gpu_percent=history.last.gpu_percent, gpu_processes=history.last.gpu_processes)
    return numbers


def _whose(seen: Seen) -> Whose | None:
    if seen.subject.uid is None:
        return None
    return Whose(seen.subject.uid, seen.subject.user or str(seen.subject.uid), seen.name, seen.id)


def of_warning(step: Step, at: float) -> tuple[Event, Notice | None]:
    """For ``Warn``, ``Withdraw`` and ``Puzzled``. The notice is None for a container whose owner nobody knows, and for ``Puzzled``."""
    whose = _whose(step.seen)
    action = step.action
    if isinstance(action, Warn):
        said = event("lifecycle.warned", step.seen, at, {"why": action.reason.value, "at": round(at + action.in_s), **_numbers(step)})
        return said, None if whose is None else notices.warning(whose, action.reason, action.in_s, action.after_s, action.limit_s, at)
    if isinstance(action, Withdraw):
        said = event("lifecycle.withdrawn", step.seen, at, {"why": action.reason.value, **_numbers(step)})
        return said, None if whose is None else notices.withdrawal(whose, action.reason, at)
    if isinstance(action, Puzzled):
        return event("lifecycle.unknown", step.seen, at, {"for_s": round(action.for_s), **_numbers(step)}), None
    raise TypeError(f"{type(action).__name__} is no warning")


def of_stop(seen: Seen, reason: Reason, after_s: float, limit_s: float, at: float) -> tuple[Event, Notice | None]:
    """For a stop that has come about."""
    whose = _whose(seen)
    details = {"why": reason.value, "after_s": round(after_s), "limit_s": limit_s, "grace_s": seen.limits.stop_grace}
    said = event("lifecycle.stopped", seen, at, details)
    per_start = seen.limits.runtime_counts == "start"
    return said, None if whose is None else notices.stopped(whose, reason, after_s, limit_s, at, per_start=per_start)


def of_removal(seen: Seen, action: Remove, at: float) -> tuple[Event, Notice | None]:
    """For a removal that has come about."""
    whose = _whose(seen)
    details = {"why": action.reason.value, "after_s": round(action.after_s), "limit_s": action.limit_s}
    said = event("lifecycle.removed", seen, at, details)
    return said, None if whose is None else notices.removed(whose, action.reason, action.after_s, action.limit_s, at)


def of_failure(seen: Seen, what: Stopped | Overdue | Remove | str, error: str, at: float) -> Event:
    """For a stop or removal that did not come about."""
    why = what if isinstance(what, str) else what.reason.value
    return event("lifecycle.failed", seen, at, {"why": why, "error": error})
