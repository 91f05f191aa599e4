# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""When the owner of a container last asked that it be kept alive: by touching ``/workspace/.keep-alive`` or ``$HOME/.keep-alive`` in it."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Mapping

from .container_files import container_root, times

NAME = ".keep-alive"
WORKSPACE = "/workspace"
CLOCK_SLACK_S = 60.0
_ENVIRON_LIMIT = 128 * 1024
DEADLINE_S = 5.0


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


def keep_alive_ages(pids: Mapping[str, int], now: float, proc: str = "/proc", deadline: float = DEADLINE_S) -> dict[str, float | None]:
    """The ages by container id; ``pids``: a process of each. A container that is not in the answer was not answered for in time.

    Each in a thread of its own: the file may lie on a network filesystem whose server is down, and then the question never ends.
    """
    done: queue.SimpleQueue[tuple[str, float | None]] = queue.SimpleQueue()

    def ask(container_id: str, pid: int) -> None:
        done.put((container_id, keep_alive_age(pid, container_id, now, proc)))

    for container_id, pid in pids.items():
        threading.Thread(target=ask, args=(container_id, pid), name="keep-alive", daemon=True).start()
    ages: dict[str, float | None] = {}
    end = time.monotonic() + deadline
    while len(ages) < len(pids):
        try:
            container_id, age = done.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        ages[container_id] = age
    return ages
