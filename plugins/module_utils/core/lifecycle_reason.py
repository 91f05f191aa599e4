# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Why the platform does something to a container."""

from __future__ import annotations

from enum import Enum


class Reason(str, Enum):
    """Why something is done to a container."""

    IDLE = "idle"
    RUNTIME = "runtime"
    NEVER_STARTED = "never started"
    STOPPED = "stopped for long"
    MAINTENANCE = "maintenance"
