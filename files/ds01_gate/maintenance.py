# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""No container starts while the server is in maintenance. The file is read again when it changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ds01.core.maintenance import UNAVAILABLE, Maintenance, refuses
from ds01.core.refusal import Refusal
from ds01.file_cache import FileCache
from ds01.json_state import StateError
from ds01.maintenance_file import load


class MaintenanceGuard:
    """``clock`` gives seconds since the epoch, UTC."""

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._state: FileCache[Maintenance | None] = FileCache(Path(path), lambda where: load(str(where)))
        self._clock = clock

    def check(self) -> None:
        """Raises Refusal (503) where no container may start: from the announced time on, or when the file can't be read."""
        try:
            state = self._state.get()
        except (StateError, OSError) as error:
            why = f"whether the server is in maintenance can't be read ({error})"
            next_step = "Tell the administrator: ds01 maintenance off writes it anew."
            raise Refusal("starting a container is refused", why, next_step, rule="maintenance-unknown", status=UNAVAILABLE) from error
        refusal = refuses(state, self._clock())
        if refusal is not None:
            raise refusal
