# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whether a running dockerd can take up new files by itself, needs a restart, and whether a restart may happen now.

A restart keeps containers only when the running daemon was started with live-restore. Without it, a restart under containers waits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

# Keys that dockerd takes up on SIGHUP: docs.docker.com/reference/cli/dockerd, "Configuration reload behavior".
RELOADABLE = frozenset(
    [
        "allow-nondistributable-artifacts",
        "authorization-plugins",
        "cluster-advertise",
        "cluster-store",
        "debug",
        "default-runtime",
        "features",
        "insecure-registries",
        "labels",
        "live-restore",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "registry-mirrors",
        "runtimes",
        "shutdown-timeout",
    ]
)


class Verdict(Enum):
    """What is to be done with the daemon."""

    NOTHING = "nothing"
    START = "start"
    RELOAD = "reload"
    RESTART = "restart"
    PENDING = "pending"


@dataclass(frozen=True)
class Decision:
    """``reasons`` says what differs between what runs and what the files say."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()


def parse_config(text: str | None) -> dict[str, Any]:
    """daemon.json as a dict; an absent or broken one is empty, because a broken one can't have started a daemon."""
    try:
        parsed = json.loads(text or "{}")
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def decide(
    running: bool,
    started_with: Mapping[str, str] | None,
    wanted: Mapping[str, str],
    config: str,
    containers: int,
    allow_restart: bool,
) -> Decision:
    """``started_with`` and ``wanted`` are file contents by path, ``config`` the path of daemon.json, ``containers`` how many run now."""
    if not running:
        return Decision(Verdict.START, ("the daemon does not run",))
    reasons: tuple[str, ...] = ("it was started without the files of this role",)
    reloadable = restored = False
    if started_with is not None:
        old, new = parse_config(started_with.get(config)), parse_config(wanted.get(config))
        keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        files = sorted(path for path in {*started_with, *wanted} if path != config and started_with.get(path) != wanted.get(path))
        reasons = (*(f"daemon.json: {key}" for key in keys), *files)
        reloadable = not files and RELOADABLE.issuperset(keys)
        restored = old.get("live-restore") is True
    if not reasons:
        return Decision(Verdict.NOTHING)
    if reloadable:
        return Decision(Verdict.RELOAD, reasons)
    if containers == 0 or restored or allow_restart:
        return Decision(Verdict.RESTART, reasons)
    return Decision(Verdict.PENDING, reasons)
