# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""When the owner of a container last asked that it be kept alive: by touching ``/workspace/.keep-alive`` or ``$HOME/.keep-alive`` in it."""

from __future__ import annotations

import os

from .container_files import container_root, times

NAME = ".keep-alive"
WORKSPACE = "/workspace"
CLOCK_SLACK_S = 60.0
_ENVIRON_LIMIT = 128 * 1024


def home_of(pid: int, proc: str = "/proc") -> str | None:
    """HOME in the environment that the process was started with; its owner's word, so only good for a path in their container."""
    try:
        with open(f"{proc}/{pid}/environ", "rb") as stream:
            entries = stream.read(_ENVIRON_LIMIT).split(b"\0")
    except OSError:
        return None
    return next((entry[5:].decode("utf-8", "surrogateescape") for entry in entries if entry.startswith(b"HOME=/")), None)


def keep_alive_age(pid: int, container_id: str, now: float, proc: str = "/proc") -> float | None:
    """Seconds since the newest such file was touched; None where there is none. ``now`` is seconds since the epoch.

    The earlier of mtime and ctime counts: a date in the future that somebody gave the file keeps nothing for longer, because the kernel's
    own ctime can't be chosen. A file from the future all the same (the clock was set back) counts for nothing.
    """
    try:
        with container_root(pid, container_id, proc) as root:
            homes = dict.fromkeys([WORKSPACE, home_of(pid, proc) or WORKSPACE])
            found = [times(root, os.path.join(home, NAME)) for home in homes]
    except OSError:
        return None
    ages = [now - min(one.mtime, one.ctime) for one in found if one is not None]
    return min((max(0.0, age) for age in ages if age >= -CLOCK_SLACK_S), default=None)
