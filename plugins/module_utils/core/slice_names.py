# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Names of the systemd slices. By uid, so that no user name needs escaping and a change of group moves nothing.

A dash nests: ``ds01-u1000-c0.slice`` lives in ``ds01-u1000.slice`` in ``ds01.slice``.
"""

from __future__ import annotations

from .exact_text import number_between

ROOT = "ds01.slice"
NOGPU = "ds01-nogpu.slice"
BUILD = "ds01-build.slice"


def user_slice(uid: int) -> str:
    """The slice that holds everything of one person."""
    return f"ds01-u{uid}.slice"


def nogpu_slice(uid: int) -> str:
    """The slice of that person's containers without a GPU."""
    return f"ds01-u{uid}-nogpu.slice"


def is_nogpu_slice(name: str) -> bool:
    """Whether that is the slice of somebody's containers without a GPU."""
    return number_between(name, "ds01-u", "-nogpu.slice") is not None


def claim_slice(uid: int, claim_id: str) -> str:
    """The slice of a container that holds a claim: its device filter lists exactly the claimed devices."""
    return f"ds01-u{uid}-{claim_id}.slice"
