# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Looks at the files that say what an administrator reserved and whom they let use GPUs outside containers."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ds01 import bare_metal_grants, reservation_file
from ds01.core.permit_changes import Permits, in_force
from ds01.file_cache import FileCache

_LOG = logging.getLogger("ds01.watch")


class PermitFiles:
    """A file that can't be read says nothing, so that nothing is said to have ended: what was known of it stays."""

    def __init__(self, reservations: Path, grants: Path) -> None:
        self._reservations = FileCache(reservations, reservation_file.load)
        self._grants = grants
        self._stamp: tuple[tuple[int, ...], ...] | None = None
        self._known = Permits((), ())

    def now(self, at: float) -> Permits:
        """What is in force or to come."""
        reservations, grants = self._known.reservations, self._known.grants
        try:
            reservations = self._reservations.get()
        except (OSError, ValueError) as error:
            _LOG.warning("%s", error)
        stamp = self._of_grants()
        if stamp != self._stamp:
            found = bare_metal_grants.read(self._grants)
            for problem in found.problems:
                _LOG.warning("%s", problem)
            grants, self._stamp = found.grants, stamp
        self._known = Permits(tuple(reservations), tuple(grants))
        return in_force(reservations, grants, at)

    def _of_grants(self) -> tuple[tuple[int, ...], ...]:
        try:
            with os.scandir(self._grants) as entries:
                stats = [entry.stat(follow_symlinks=False) for entry in entries]
        except OSError:
            return ()
        return tuple(sorted((at.st_ino, at.st_size, at.st_mtime_ns) for at in stats))
