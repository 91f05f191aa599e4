# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Times as people type them: ``2h`` or ``3d`` relative to now, or ISO 8601 (UTC where no offset stands)."""

from __future__ import annotations

from datetime import datetime, timezone

from ds01.core.durations import parse_duration

from .failure import Failure


def instant(text: str, option: str) -> float:
    """Seconds since the epoch of an ISO time; raises Failure naming the option."""
    try:
        at = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise Failure(f"{option} {text}: this is no time", "expected ISO 8601, such as 2026-12-01T18:00Z (UTC without an offset)") from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=timezone.utc)).timestamp()


def length(text: str, option: str) -> int:
    """Seconds of a duration, more than none; raises Failure naming the option."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise Failure(f"{option} {text}: this is no duration", f"expected {error}") from None
    if seconds == 0:
        raise Failure(f"{option} {text}: this is no time at all", "expected a duration such as 8h or 3d")
    return seconds


def ago(text: str, option: str, now: float) -> float:
    """A moment in the past: ``2h`` is two hours before ``now``; else ISO 8601."""
    if text[:1].isdigit() and text[-1:] in "wdhms":
        return now - length(text, option)
    return instant(text, option)


def ahead(text: str, option: str, now: float) -> float:
    """A moment to come: ``2h`` is two hours after ``now``, ``now`` is now; else ISO 8601."""
    if text == "now":
        return now
    if text[:1].isdigit() and text[-1:] in "wdhms":
        return now + length(text, option)
    return instant(text, option)
