# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Puts the collectors together: one registry, whose text a scrape gets."""

from __future__ import annotations

import logging
import os
import pwd
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from ds01 import json_state, queue_file
from ds01.cgroup_fs import CgroupFs
from ds01.core.gate_measures import GateMeasures, from_dict
from ds01.core.gpu_queue import Waiter
from ds01.file_cache import FileCache
from ds01.policy_file import PolicyFile, Resolver

from .allowances import Allowances
from .log_counts import LogCounts
from .metrics import WatchCollector
from .people_metrics import PeopleCollector
from .platform_metrics import PlatformCollector
from .watcher import Watcher

_LOG = logging.getLogger("ds01.watch")


def uptime() -> float:
    """Seconds since boot, time asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def gate_said(path: str) -> Callable[[], GateMeasures | None]:
    """Reads what the gate hands over; None where there is nothing, or nothing that can be read."""

    def read() -> GateMeasures | None:
        try:
            document = json_state.read(path)
            return None if document is None else from_dict(document)
        except (OSError, ValueError) as error:
            _LOG.warning("%s: %s", path, error)
            return None

    return read


def waiting(path: str) -> Callable[[], tuple[Waiter, ...] | None]:
    """Reads the queue; None where it can't be read. A host without the file has had no queue yet: nobody waits."""
    cache = FileCache(Path(path), lambda _: queue_file.load(path).waiters)

    def read() -> tuple[Waiter, ...] | None:
        try:
            return cache.get()
        except (OSError, ValueError) as error:
            _LOG.warning("%s: %s", path, error)
            return None

    return read


def registry(watcher: Watcher, log: LogCounts, cgroups: CgroupFs, paths: dict[str, str], release: str) -> CollectorRegistry:
    """Every metric. ``paths``: policy, queue, gate."""

    def uids() -> set[int]:
        return {*cgroups.user_slices(), *(claim.uid for claim in watcher.picture().claims)}

    allowances = Allowances(Resolver(PolicyFile(paths["policy"])), uids)
    allowances.start()
    found = CollectorRegistry()
    found.register(WatchCollector(watcher.picture, release))
    found.register(PeopleCollector(cgroups, lambda: watcher.picture().claims, allowances.now, waiting(paths["queue"]), time.time))
    found.register(PlatformCollector(gate_said(paths["gate"]), log, watcher.health, uptime))
    ProcessCollector(registry=found, namespace="ds01_watch")
    return found


def text(found: CollectorRegistry) -> Callable[[], bytes]:
    """What a scrape gets."""
    return lambda: generate_latest(found)


def readers(names: list[str]) -> Callable[[int], bool]:
    """Who may read the metrics: root, whoever runs this, and the accounts of these names (looked up when somebody comes)."""

    def may(uid: int) -> bool:
        if uid in (0, os.geteuid()):
            return True
        try:
            return pwd.getpwuid(uid).pw_name in names
        except KeyError:
            return False

    return may
