# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What lies ahead for each container, as a document; ``outlook_text`` makes lines of it."""

from __future__ import annotations

from typing import Any

from .lifecycle import Drain, Leads, Prospect, outlook
from .lifecycle_history import History
from .lifecycle_reason import Reason
from .sweep_plan import Seen


def _prospects(seen: Seen, history: History, leads: Leads, at: float, drain: Drain | None) -> list[Prospect]:
    if seen.subject.protected:
        return []
    if seen.running:
        return outlook(history, seen.limits, leads, at, drain)
    created = seen.state == "created"
    limit = seen.limits.created_hold if created else seen.limits.container_hold
    if limit is None or seen.subject.keep or (created and seen.waits):
        return []
    reason = Reason.NEVER_STARTED if created else Reason.STOPPED
    return [Prospect(reason, history.still_s, float(limit), max(0.0, limit - history.still_s), False, False)]


def entry(seen: Seen, history: History, leads: Leads, at: float, now: float, drain: Drain | None = None) -> dict[str, Any]:
    """What lies ahead for one container at ``at`` (seconds since boot), which is ``now`` (seconds since the epoch)."""
    return {
        "id": seen.id,
        "container": seen.name,
        "user": seen.subject.user,
        "uid": seen.subject.uid,
        "kind": seen.subject.kind,
        "state": seen.state,
        "protected": seen.subject.protected,
        "keep": seen.subject.keep,
        "activity": history.last_activity.value if seen.running else None,
        "exempt": list(seen.exempt),
        "time": now,
        "stopping": history.asked is not None,
        "prospects": [
            {
                "reason": one.reason.value,
                "spent_s": round(one.spent_s, 1),
                "limit_s": one.limit_s,
                "at": round(now + one.due_s, 1),
                "warned": one.warned,
                "paused": one.paused,
            }
            for one in _prospects(seen, history, leads, at, drain)
        ],
    }
