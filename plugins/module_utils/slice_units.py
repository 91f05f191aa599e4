# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What systemd and the kernel hold slices to, by systemctl and cgroup files, and changing them while they run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from .cgroup_fs import CgroupFs
from .core.slice_limits import Difference, differences
from .core.slice_plan import DesiredSlice, RunningSlice, assignments

_PROPERTIES = "Id,ActiveState,NeedDaemonReload,DeviceAllow"
Systemctl = Callable[..., str]
"""Runs systemctl with these words and gives its standard output; raises UnitError."""


def running(wanted: Sequence[DesiredSlice], cgroups: CgroupFs, systemctl: Systemctl) -> dict[str, RunningSlice]:
    """The slices as they are now, by name; one call of systemctl for all."""
    if not wanted:
        return {}
    blocks = systemctl("show", f"--property={_PROPERTIES}", "--", *(w.name for w in wanted)).strip("\n").split("\n\n")
    found: dict[str, RunningSlice] = {}
    page = os.sysconf("SC_PAGE_SIZE")
    for slice_, block in zip(wanted, blocks, strict=True):
        values: dict[str, list[str]] = {}
        for line in block.splitlines():
            key, _, value = line.partition("=")
            values.setdefault(key, []).append(value)
        active = values.get("ActiveState") == ["active"] and cgroups.exists(slice_.name)
        found[slice_.name] = RunningSlice(
            active=active,
            needs_daemon_reload=values.get("NeedDaemonReload") == ["yes"],
            differences=_differences(slice_, cgroups, page) if active else (),
            devices=frozenset((v.split()[0], v.split()[1]) for v in values.get("DeviceAllow", ()) if len(v.split()) == 2),
        )
    return found


def hold(wanted: DesiredSlice, systemctl: Systemctl) -> None:
    """Hold a running slice to what its file says, at once, without stopping anything."""
    systemctl("set-property", "--runtime", wanted.name, *assignments(wanted))


def _differences(wanted: DesiredSlice, cgroups: CgroupFs, page: int) -> tuple[Difference, ...]:
    disks = cgroups.disks(wanted.limits.io_paths) if wanted.limits.io_paths else ()
    return tuple(differences(wanted.limits, cgroups.limits(wanted.name), disks, page))
