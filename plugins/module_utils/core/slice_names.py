# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Names of the systemd slices. By uid, so that no user name needs escaping and a change of group moves nothing.

A dash nests: ``ds01-u1000-c0.slice`` lives in ``ds01-u1000.slice`` in ``ds01.slice``.
"""

from __future__ import annotations

import re

ROOT = "ds01.slice"
NOGPU = "ds01-nogpu.slice"
BUILD = "ds01-build.slice"
_PATH = re.compile(r"/ds01\.slice/ds01-u(\d+)\.slice(?:/ds01-u\1-([a-z0-9]+)\.slice)?(?:/|$)")

_NOGPU_OF = re.compile(r"ds01-u\d+-nogpu\.slice", re.ASCII)


def user_slice(uid: int) -> str:
    """The slice that holds everything of one person."""
    return f"ds01-u{uid}.slice"


def nogpu_slice(uid: int) -> str:
    """The slice of that person's containers without a GPU."""
    return f"ds01-u{uid}-nogpu.slice"


def is_nogpu_slice(name: str) -> bool:
    """Whether that is the slice of somebody's containers without a GPU."""
    return _NOGPU_OF.fullmatch(name) is not None


def claim_slice(uid: int, claim_id: str) -> str:
    """The slice of a container that holds a claim: its device filter lists exactly the claimed devices."""
    return f"ds01-u{uid}-{claim_id}.slice"


def owner_of_path(cgroup_path: str) -> tuple[int, str | None] | None:
    """(uid, claim id or None) for a cgroup path below a person's slice, as in /proc/PID/cgroup; else None."""
    match = _PATH.search(cgroup_path)
    if match is None:
        return None
    leaf = match.group(2)
    return int(match.group(1)), None if leaf in (None, "nogpu") else leaf
