# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Slices with a unit file: the file's text, and what a running slice needs to be held to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .device_filter import EVERYTHING, WITHOUT_NVIDIA, DeviceEntry
from .slice_limits import Difference, SliceLimits
from .slice_limits import unit_lines as limit_lines

MARK = "# Managed by the module ds01.infra.cgroup_slice; changes made here are lost."
FILTERS: dict[str, tuple[DeviceEntry, ...] | None] = {"inherit": None, "open": EVERYTHING, "closed": WITHOUT_NVIDIA}
"""``inherit`` says nothing, so that drop-ins decide; ``open`` leaves it to the slices below; ``closed`` keeps NVIDIA devices out."""


@dataclass(frozen=True)
class DesiredSlice:
    """One slice as it ought to be. ``device_filter`` is a key of ``FILTERS``."""

    name: str
    description: str
    limits: SliceLimits
    device_filter: str = "inherit"


@dataclass(frozen=True)
class RunningSlice:
    """What holds for a slice now. ``differences`` and ``devices`` (systemd's DeviceAllow) count for an active one only."""

    active: bool
    needs_daemon_reload: bool = False
    differences: tuple[Difference, ...] = ()
    devices: frozenset[DeviceEntry] = frozenset()


def unit_text(wanted: DesiredSlice) -> str:
    """The whole unit file."""
    lines = [MARK, "[Unit]", f"Description={wanted.description}", "", "[Slice]", *limit_lines(wanted.limits)]
    entries = FILTERS[wanted.device_filter]
    if entries is not None:
        lines += ["DevicePolicy=closed", *(f"DeviceAllow={what} {access}" for what, access in entries)]
    return "\n".join(lines) + "\n"


def assignments(wanted: DesiredSlice) -> list[str]:
    """What ``systemctl set-property`` is given for a running slice; empty assignments clear what was there."""
    lines = limit_lines(wanted.limits)
    bandwidths = [line for line in lines if line.startswith(("IOReadBandwidthMax=", "IOWriteBandwidthMax="))]
    found = [line for line in lines if line not in bandwidths] + ["IOReadBandwidthMax=", "IOWriteBandwidthMax=", *bandwidths]
    entries = FILTERS[wanted.device_filter]
    if entries is not None:
        found += ["DevicePolicy=closed", "DeviceAllow=", *(f"DeviceAllow={what} {access}" for what, access in entries)]
    return found


def shortcomings(wanted: DesiredSlice, running: RunningSlice) -> list[str]:
    """In words, what an active slice is not held to; nothing for one that is not active: its file will do."""
    if not running.active:
        return []
    found = [str(difference) for difference in running.differences]
    entries = FILTERS[wanted.device_filter]
    if entries is not None:
        missing = [what for what, access in entries if (what, access) not in running.devices]
        extra = [what for what, _ in sorted(running.devices - set(entries) - set(WITHOUT_NVIDIA))]
        found += [f"devices lack {what}" for what in missing] + [f"devices have {what}" for what in extra]
    return found


def stale(present: Sequence[tuple[str, str]], wanted: Sequence[DesiredSlice]) -> list[str]:
    """Names of the unit files (name, text) that this project wrote and that nobody asks for any more."""
    names = {w.name for w in wanted}
    return sorted(name for name, text in present if name not in names and text.startswith(MARK))
