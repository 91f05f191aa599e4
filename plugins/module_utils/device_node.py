# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The numbers of a device node on this host."""

from __future__ import annotations

import os
import stat


def numbers(path: str) -> tuple[int, int]:
    """(major, minor) of a character device; raises OSError for an absent path or one that is no character device."""
    at = os.stat(path)
    if not stat.S_ISCHR(at.st_mode):
        raise OSError(f"{path} is no character device")
    return os.major(at.st_rdev), os.minor(at.st_rdev)


def numbers_or_none(path: str) -> tuple[int, int] | None:
    """As ``numbers``, None where there is no such device."""
    try:
        return numbers(path)
    except OSError:
        return None
