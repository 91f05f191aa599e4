# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The fence's effects: drop-ins of exempt people, the nudge that makes a running unit notice, and the timer of the next end.

A drop-in and a reload do not reach a running slice; setting any property does, because systemd then makes its device filter anew.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path

from .core.unit_plan import UnitError
from .file_set import write_atomically

DROP_IN = "50-ds01-gpu.conf"
EXEMPT_TEXT = "# Written by ds01-fence: this person may use GPUs outside containers for now.\n[Slice]\nDevicePolicy=auto\nDeviceAllow=\n"
EXPIRY_UNIT = "ds01-fence-expiry"
REFRESH_SERVICE = "ds01-fence-refresh.service"
_USER_DROP_IN = re.compile(r"user-([1-9]\d*)\.slice\.d")
_USER_SLICE = re.compile(r"user-(\d+)\.slice")
Runner = Callable[..., str]


def run(*words: str) -> str:
    """Standard output of a command; raises UnitError with what it said."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"}
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=environment, timeout=60)
    if done.returncode != 0:
        raise UnitError(f"{' '.join(words)} (exit status {done.returncode}): {(done.stderr or done.stdout).strip()}")
    return done.stdout


class FenceUnits:
    """``units``: where unit files are; ``cgroups``: cgroup v2; ``record``: which rule each running unit was last made to follow."""

    def __init__(
        self,
        units: Path = Path("/etc/systemd/system"),
        cgroups: Path = Path("/sys/fs/cgroup"),
        record: Path = Path("/run/ds01/fence.json"),
        runner: Runner = run,
    ) -> None:
        self._units = units
        self._cgroups = cgroups
        self._record = record
        self._run = runner

    def drop_ins(self) -> list[int]:
        """The uids that have an exemption on disk, in numeric order; root's is not one of them."""
        found = (_USER_DROP_IN.fullmatch(p.parent.name) for p in self._units.glob(f"user-*.slice.d/{DROP_IN}"))
        return sorted(int(m.group(1)) for m in found if m is not None)

    def write(self, uid: int) -> None:
        """Exempt a person from the next login on."""
        directory = self._units / f"user-{uid}.slice.d"
        directory.mkdir(mode=0o755, exist_ok=True)
        write_atomically(str(directory / DROP_IN), EXEMPT_TEXT.encode(), 0o644, os.geteuid(), os.getegid())

    def remove(self, uid: int) -> None:
        """Fence a person from the next login on. Other drop-ins of the same slice stay."""
        directory = self._units / f"user-{uid}.slice.d"
        (directory / DROP_IN).unlink(missing_ok=True)
        if not any(directory.iterdir()):
            directory.rmdir()

    def live_users(self) -> list[int]:
        """The uids that have a running slice, in numeric order."""
        try:
            names = [e.name for e in os.scandir(self._cgroups / "user.slice") if e.is_dir(follow_symlinks=False)]
        except OSError:
            return []
        return sorted(int(m.group(1)) for m in (_USER_SLICE.fullmatch(n) for n in names) if m is not None)

    def live_services(self, services: Iterable[str]) -> list[str]:
        """Those of the services that run."""
        return [s for s in services if (self._cgroups / "system.slice" / s).is_dir()]

    def recorded(self) -> dict[str, str]:
        """Unit → rule that it was last made to follow since boot; nothing when that is not known."""
        try:
            data = json.loads(self._record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(k): str(v) for k, v in data.items()} if isinstance(data, dict) else {}

    def record(self, rules: Mapping[str, str]) -> None:
        """Remember what running units follow."""
        self._record.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        content = (json.dumps(dict(sorted(rules.items())), indent=1) + "\n").encode()
        write_atomically(str(self._record), content, 0o644, os.geteuid(), os.getegid())

    def reload(self) -> None:
        """Let systemd read the drop-ins."""
        self._run("systemctl", "daemon-reload")

    def nudge(self, unit: str) -> None:
        """Make a running unit's device filter anew, by setting a property to the value that it has (100 where it has none)."""
        weight = self._run("systemctl", "show", "--property=CPUWeight", "--value", "--", unit).strip()
        value = weight if weight.isdigit() and 1 <= int(weight) <= 10_000 else "100"
        self._run("systemctl", "set-property", "--runtime", unit, f"CPUWeight={value}")

    def wake_at(self, moment: float | None) -> None:
        """Have the fence looked at again when the next exemption ends, to the second; None: no need."""
        active = self._run("systemctl", "list-units", "--all", "--plain", "--no-legend", f"{EXPIRY_UNIT}.timer").strip()
        if active:
            self._run("systemctl", "stop", f"{EXPIRY_UNIT}.timer")
        if moment is None:
            return
        at = datetime.fromtimestamp(int(moment) + 1, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
        self._run(
            "systemd-run",
            f"--unit={EXPIRY_UNIT}",
            f"--on-calendar={at}",
            "--timer-property=AccuracySec=1s",
            "--quiet",
            "systemctl",
            "start",
            "--no-block",
            REFRESH_SERVICE,
        )
