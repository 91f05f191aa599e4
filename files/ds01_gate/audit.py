# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The gate's log: a JSON line on standard error for what changes something or is refused, and for what the gate does by itself.

Refusals are limited per person, so that a loop in somebody's script does not fill the journal; the next line says how many were left out.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

REFUSALS_PER_SECOND = 2.0
REFUSALS_AT_ONCE = 20.0


@dataclass
class _Bucket:
    tokens: float
    filled_at: float
    left_out: int = 0


class RefusalRate:
    """How many refusals of one person are written down. ``clock`` is monotonic, in seconds. Safe for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[int, _Bucket] = {}

    def take(self, uid: int) -> int | None:
        """How many were left out before this one; None when this one is left out too."""
        now = self._clock()
        with self._lock:
            bucket = self._buckets.setdefault(uid, _Bucket(REFUSALS_AT_ONCE, now))
            bucket.tokens = min(REFUSALS_AT_ONCE, bucket.tokens + (now - bucket.filled_at) * REFUSALS_PER_SECOND)
            bucket.filled_at = now
            if bucket.tokens < 1:
                bucket.left_out += 1
                return None
            bucket.tokens -= 1
            left_out, bucket.left_out = bucket.left_out, 0
            return left_out


class Audit:
    """Writes the lines. Safe for several threads."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._lock = threading.Lock()
        self._rate = RefusalRate(clock)

    def note(self, event: str, **fields: Any) -> None:
        """One line; ``fields`` must be JSON values."""
        line = json.dumps({"event": event, **fields}, ensure_ascii=False, default=str)
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()

    def refusal(self, uid: int, **fields: Any) -> bool:
        """One line for a refused request of ``uid``, unless too many came at once; whether it was written."""
        left_out = self._rate.take(uid)
        if left_out is None:
            return False
        if left_out:
            fields["left_out"] = left_out
        self.note("refused", uid=uid, **fields)
        return True
