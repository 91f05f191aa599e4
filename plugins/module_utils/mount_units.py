# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Mounts of the running system and their units: reading them, and making a directory nosuid and nodev under what is open."""

from __future__ import annotations

import contextlib
import os
import subprocess

from .core.mount_plan import REQUIRED, UNITS, DirectoryPlan, Mount, MountError, fstab_options, parse_mountinfo, unit_name

MARK = "# Written by the role storage."


def current_mounts() -> dict[str, Mount]:
    """The topmost mount at every mount point of this process's namespace."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        return parse_mountinfo(stream.read())


def configured_options(directories: list[str], *, fstab: str = "/etc/fstab", units: str = UNITS) -> dict[str, str]:
    """Options by mount point, from fstab and from mount units that others wrote."""
    found = {}
    with contextlib.suppress(FileNotFoundError), open(fstab, encoding="utf-8") as stream:
        found = fstab_options(stream.read())
    for directory in directories:
        with contextlib.suppress(FileNotFoundError), open(os.path.join(units, unit_name(directory)), encoding="utf-8") as stream:
            text = stream.read()
            if not text.startswith(MARK):
                lines = [line.partition("=")[2].strip() for line in text.splitlines() if line.startswith("Options=")]
                found[directory] = lines[-1] if lines else "defaults"
    return found


def is_in_force(directory: str) -> bool:
    """What the kernel says of the directory: nosuid and nodev."""
    flags = os.statvfs(directory).f_flag
    return bool(flags & os.ST_NOSUID and flags & os.ST_NODEV)


def _systemctl(*words: str) -> None:
    done = subprocess.run(["systemctl", *words], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise MountError(f"systemctl {' '.join(words)}: {(done.stderr or done.stdout).strip()}")


def bring_into_force(plan: DirectoryPlan, *, reload_units: bool) -> None:
    """Mounts or remounts the directory now; raises MountError when the kernel does not have the options afterwards."""
    if reload_units:
        _systemctl("daemon-reload")
    if plan.bind and not os.path.ismount(plan.directory):
        _systemctl("start", plan.unit_file.unit)
    else:
        options = ",".join(["remount", *(["bind"] if plan.bind else []), *REQUIRED])
        done = subprocess.run(["mount", "-o", options, plan.directory], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise MountError(f"{plan.directory}: mount -o {options}: {done.stderr.strip()}")
    if not is_in_force(plan.directory):
        raise MountError(f"{plan.directory}: the kernel does not show {' and '.join(REQUIRED)} after mounting it")
