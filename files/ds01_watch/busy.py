# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""How busy each GPU was over the last minute: NVML tells of a fraction of a second, which says little of work that comes in bursts."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

SPAN_S = 60.0


class Busy:
    """Keeps the looks of the last ``SPAN_S`` seconds. Times are monotonic seconds. For one thread."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, dict[str, float | None]]] = deque()

    def take(self, at: float, sensors: Mapping[str, Mapping[str, Any]]) -> None:
        """Note one look at the GPUs."""
        self._looks.append((at, {uuid: found.get("utilisation") for uuid, found in sensors.items()}))
        self._forget(at)

    def percents(self, now: float) -> dict[str, float | None]:
        """The mean over the span of each GPU of the last look; None where one of its looks had no utilisation (MIG mode)."""
        self._forget(now)
        if not self._looks:
            return {}
        found: dict[str, float | None] = {}
        for uuid in self._looks[-1][1]:
            seen = [look[uuid] for _, look in self._looks if uuid in look]
            known = [one for one in seen if one is not None]
            found[uuid] = sum(known) / len(known) if len(known) == len(seen) else None
        return found

    def _forget(self, now: float) -> None:
        while self._looks and now - self._looks[0][0] > SPAN_S:
            self._looks.popleft()
