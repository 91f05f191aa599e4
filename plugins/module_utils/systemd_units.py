# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""systemd's units by systemctl: many states in one call, and the steps of a plan."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable

from .core.unit_plan import UnitError, UnitState, UnitStep

_PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload,ActiveEnterTimestampMonotonic,StateChangeTimestampMonotonic"


def systemctl(*words: str) -> str:
    """Standard output of one call; raises UnitError with what systemd said."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "SYSTEMD_COLORS": "0"}
    done = subprocess.run(["systemctl", "--no-pager", *words], check=False, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise UnitError(f"systemctl {' '.join(words)} (exit status {done.returncode}): {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _since(name: str, values: dict[str, str], offset: float) -> float:
    """When the unit became active; for a service also when it was reloaded. ``offset`` is the wall clock less the monotonic one."""
    stamps = [values.get("ActiveEnterTimestampMonotonic", "0")]
    if name.endswith(".service"):
        stamps.append(values.get("StateChangeTimestampMonotonic", "0"))
    return max(int(stamp) for stamp in stamps) / 1e6 + offset


def read_units(names: Iterable[str]) -> dict[str, UnitState]:
    """State by name, in one call; a unit that does not exist is not loaded."""
    names = list(names)
    if not names:
        return {}
    offset = time.time() - time.monotonic()
    text = systemctl("show", f"--property={_PROPERTIES}", "--", *names)
    states = {}
    for name, block in zip(names, text.strip("\n").split("\n\n"), strict=True):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        active = values.get("ActiveState") in ("active", "reloading", "activating")
        states[name] = UnitState(
            loaded=values.get("LoadState") in ("loaded", "masked"),
            active=active,
            failed=values.get("ActiveState") == "failed",
            file_state=values.get("UnitFileState", ""),
            needs_daemon_reload=values.get("NeedDaemonReload") == "yes",
            since=_since(name, values, offset) if active else None,
        )
    return states


def newest_change(paths: Iterable[str]) -> float | None:
    """When the latest of the paths changed, seconds since the epoch, links themselves; missing ones are left out."""
    times = []
    for path in paths:
        try:
            times.append(os.lstat(path).st_mtime)
        except FileNotFoundError:
            continue
    return max(times, default=None)


def take(steps: Iterable[UnitStep]) -> None:
    """Runs each step."""
    for step in steps:
        systemctl(*([step.verb, step.unit] if step.unit else [step.verb]))
