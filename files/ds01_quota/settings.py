# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the role disk_quota tells the program: ``/etc/ds01/disk_quota.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ds01.disk_quota import SETTINGS, DiskSettingsError, roots


@dataclass(frozen=True)
class Settings:
    """``roots``: directories whose subdirectories belong to people. ``required``: a root without quotas is a failure.

    ``first_uid``: people's uids begin there, below are the system's.
    """

    roots: tuple[str, ...]
    required: bool = False
    first_uid: int = 1000


def load(path: Path = SETTINGS) -> Settings:
    """The settings; raises DiskSettingsError."""
    directories = roots(path)
    if not path.exists():
        raise DiskSettingsError(f"{path}: is not there; the role disk_quota writes it")
    data = json.loads(path.read_text(encoding="utf-8"))
    required, first_uid = data.get("required"), data.get("first_uid")
    if not isinstance(required, bool):
        raise DiskSettingsError(f"{path}: required is {required!r}, expected true or false")
    if not isinstance(first_uid, int) or isinstance(first_uid, bool) or first_uid < 1:
        raise DiskSettingsError(f"{path}: first_uid is {first_uid!r}, expected a whole number from 1")
    return Settings(directories, required, first_uid)
