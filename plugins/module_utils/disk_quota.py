# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""How much disk somebody uses of how much, as the kernel counts it: for ``ds01 usage`` and notices. Costs two system calls a filesystem."""

from __future__ import annotations

import json
from pathlib import Path

from .core.disk_plan import LARGEST_UID, DiskUse, Kind, Quota, fullest, id_of
from .quotactl import KernelQuotas, Quotas

SETTINGS = Path("/etc/ds01/disk_quota.json")


class DiskSettingsError(ValueError):
    """The settings are there and can't be used; names the file, the key and what it should be."""


def roots(settings: Path = SETTINGS) -> tuple[str, ...]:
    """The directories whose subdirectories belong to people; none where the role disk_quota was not here. Raises DiskSettingsError."""
    try:
        data = json.loads(settings.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise DiskSettingsError(f"{settings}: {error}; the role disk_quota writes it") from error
    found = data.get("roots") if isinstance(data, dict) else None
    if not isinstance(found, list) or not all(isinstance(r, str) and r.startswith("/") for r in found):
        raise DiskSettingsError(f"{settings}: roots is {found!r}, expected a list of absolute paths")
    return tuple(found)


def usage(uid: int, settings: Path = SETTINGS, quotas: Quotas | None = None) -> DiskUse | None:
    """What a person uses where they are closest to their limit; None where nothing counts it, or the caller may not know.

    Root sees everything; a person sees what belongs to their uid, not what root of a container wrote into their home.
    """
    if not 0 < uid <= LARGEST_UID:
        return None
    kernel = quotas or KernelQuotas()
    found: list[tuple[str, Quota]] = []
    try:
        directories = roots(settings)
    except DiskSettingsError:
        return None
    for directory in directories:
        for kind in Kind:
            try:
                if kind in kernel.enforced(directory):
                    found.append((directory, kernel.get(directory, kind, id_of(kind, uid))))
            except OSError:
                continue
    return fullest(found)
