# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The device filter of slices, as systemd's ``DeviceAllow=`` entries (what, access).

Names are matched as globs against /proc/devices (systemd.resource-control(5)), which is how every class but nvidia's is said. A class
that is registered later is not in a filter made before: the filter has to be made again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

DeviceEntry = tuple[str, str]

WITHOUT_NVIDIA: tuple[DeviceEntry, ...] = (
    ("char-[!n]*", "rwm"),
    ("char-n[!v]*", "rwm"),
    ("char-nv[!i]*", "rwm"),
    ("char-/dev/vc/0", "rwm"),
    ("block-*", "rwm"),
)
"""Every class of devices but nvidia*: infiniband, fuse, kvm, tun, dri, nvme stay open."""

EVERYTHING: tuple[DeviceEntry, ...] = (("char-*", "rwm"), ("block-*", "rwm"))
"""For a person's own slice: the filters of the slices below it decide."""

_CLASS = re.compile(r"\s*(\d+)\s+(\S+)")


def claimed(nodes: Iterable[tuple[int, int]]) -> tuple[DeviceEntry, ...]:
    """``WITHOUT_NVIDIA`` and exactly these character devices (major, minor); systemd reads /dev/char/M:m as numbers."""
    return (*WITHOUT_NVIDIA, *((f"/dev/char/{major}:{minor}", "rwm") for major, minor in sorted(set(nodes))))


def unit_lines(entries: Iterable[DeviceEntry]) -> list[str]:
    """The lines of a [Slice] or [Service] section."""
    return ["DevicePolicy=closed", *(f"DeviceAllow={what} {access}" for what, access in entries)]


def character_classes(proc_devices: str) -> frozenset[tuple[int, str]]:
    """(major, name) of the character devices in the text of /proc/devices."""
    found: set[tuple[int, str]] = set()
    character = False
    for line in proc_devices.splitlines():
        if line.endswith("devices:"):
            character = line.startswith("Character")
            continue
        match = _CLASS.fullmatch(line)
        if character and match is not None:
            found.add((int(match.group(1)), match.group(2)))
    return frozenset(found)
