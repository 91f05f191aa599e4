# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Idle containers make room sooner while people wait for GPUs, where the policy says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .gpu_queue import Waiter
from .limits import LifecycleLimits


def people_waiting(waiters: Iterable[Waiter]) -> int:
    """How many people wait for a GPU and have not been offered one."""
    return len({one.uid for one in waiters if one.hold is None})


def under_demand(limits: LifecycleLimits, waiting: int, holds_gpu: bool) -> LifecycleLimits:
    """The limits with ``idle`` halved, where at least ``idle_halves_at`` people wait and the container holds what they wait for."""
    if limits.idle is None or limits.idle_halves_at is None or not holds_gpu or waiting < limits.idle_halves_at:
        return limits
    return replace(limits, idle=limits.idle // 2)
