# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Counts the XID errors that the driver reports, by waiting for its events between two looks."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from .nvml_binding import NvmlError, call, text

_XID_CRITICAL = 0x8
"""nvmlEventTypeXidCriticalError (nvml.h)."""


class XidCounter:
    """``counts``: GPU UUID → XID (as text, for JSON) → how often since this process listens."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, int]] = {}
        self._set: Any = None

    def listen(self, handles: Iterable[Any]) -> None:
        """Begin to listen; GPUs that have no such events are left out."""
        listening = False
        try:
            events = call("nvmlEventSetCreate")
        except NvmlError:
            return
        for handle in handles:
            try:
                call("nvmlDeviceRegisterEvents", handle, _XID_CRITICAL, events)
                listening = True
            except NvmlError:
                continue
        self._set = events if listening else None

    def wait(self, seconds: float) -> bool:
        """Wait that long, counting what comes; False at once where nothing can be listened to."""
        if self._set is None:
            return False
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = call("nvmlEventSetWait_v2", self._set, max(1, int(left * 1000)))
            except NvmlError:  # nothing came in that time
                continue
            self._count(event)
        return True

    def _count(self, event: Any) -> None:
        try:
            uuid = text(call("nvmlDeviceGetUUID", event.device))
        except NvmlError:
            return
        number = str(int(event.eventData))
        of_gpu = self.counts.setdefault(uuid, {})
        of_gpu[number] = of_gpu.get(number, 0) + 1
