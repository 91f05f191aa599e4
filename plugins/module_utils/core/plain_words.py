# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Text, durations and times as people read them on a terminal."""

from __future__ import annotations

from datetime import datetime, timezone

TEXT_LIMIT = 1000
_DAY_S = 86400.0


def plain(text: str) -> str:
    """``text`` on one line, without anything that could steer a terminal, cut at ``TEXT_LIMIT`` characters."""
    return "".join(one if one.isprintable() else "?" for one in " ".join(text.split()))[:TEXT_LIMIT]


def span(seconds: float) -> str:
    """Seconds for people: ``1d 2h``, ``15m``, ``45s``."""
    left, parts = max(0, round(seconds)), []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= length:
            parts.append(f"{left // length}{unit}")
            left %= length
    return " ".join(parts[:2]) or "0s"


def clock(at: float, now: float) -> str:
    """A time (seconds since the epoch): ``14:32 UTC``, with its date where it is more than half a day away."""
    form = "%H:%M UTC" if abs(at - now) < _DAY_S / 2 else "%Y-%m-%d %H:%M UTC"
    return datetime.fromtimestamp(at, timezone.utc).strftime(form)
