# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whose slice a cgroup path lies in."""

from __future__ import annotations

import re

_PATH = re.compile(r"/ds01\.slice/ds01-u(\d+)\.slice(?:/ds01-u\1-([a-z0-9]+)\.slice)?(?:/|$)")


def owner_of_path(cgroup_path: str) -> tuple[int, str | None] | None:
    """(uid, claim id or None) for a cgroup path below a person's slice, as in /proc/PID/cgroup; else None."""
    match = _PATH.search(cgroup_path)
    if match is None:
        return None
    leaf = match.group(2)
    return int(match.group(1)), None if leaf in (None, "nogpu") else leaf
