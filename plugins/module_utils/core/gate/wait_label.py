# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The label ``ds01.gpu.wait``: how long a start may wait for a GPU inside ``docker run``."""

from __future__ import annotations

from ..durations import DURATION_ALLOWED, parse_duration
from .verdict import Stop

WAIT_LABEL = "ds01.gpu.wait"
MOST_WAIT_S = 7 * 86400


def wait_seconds(text: str) -> int:
    """Seconds, 0 for not at all. Raises ``Stop`` (400)."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        raise Stop(400, f"label {WAIT_LABEL}={ascii(text)[:40]} is not understood; expected {DURATION_ALLOWED}.", "wait-label") from None
    if seconds > MOST_WAIT_S:
        raise Stop(400, f"label {WAIT_LABEL}={ascii(text)[:40]} is too long; at most 7d.", "wait-label")
    return seconds
