# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The containers of before the gate, found by the marks that dockerd can filter for. No new ones come through the gate."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from .core.container_marks import LEGACY_LABEL, OWNER_LABEL, UID_LABEL, marked
from .docker_upstream import DockerClient

FRESH_S = 5.0
"""How old the list may be: only root can add to it, and what a person may do with a container is looked up anew each time."""
_BY_LABEL = {"label": [LEGACY_LABEL]}
_BY_NAME = {"name": [r"\._\.[0-9]+$"]}


def own_name(entry: Mapping[str, Any]) -> str:
    """The container's own name in an entry of dockerd's list; a link gives a second one, with two slashes."""
    return next((str(name)[1:] for name in entry.get("Names") or () if str(name).count("/") == 1), "")


class LegacyContainers:
    """Looks them up, at most every ``FRESH_S`` seconds. Safe for several threads. ``clock`` is monotonic, in seconds."""

    def __init__(self, docker: DockerClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._docker = docker
        self._clock = clock
        self._lock = threading.Lock()
        self._found: list[Mapping[str, Any]] = []
        self._looked_at: float | None = None

    def count(self, user: str, uid: int) -> int:
        """How many that person has. Raises DaemonUnavailable and DaemonRefused."""
        return sum(_owned(entry, user, uid) for entry in self._known())

    def running_unlabelled(self, user: str, uid: int) -> int:
        """How many of them run now that a look for ``ds01.user`` does not find."""
        if not self.count(user, uid):
            return 0
        return sum(_owned(entry, user, uid) and OWNER_LABEL not in _labels(entry) for entry in self._look(running=True))

    def _known(self) -> list[Mapping[str, Any]]:
        if self._fresh() or not self._lock.acquire(blocking=self._looked_at is None):
            return self._found  # Somebody looks at this moment: what was there a moment ago does, and nobody waits for dockerd.
        try:
            if not self._fresh():
                self._found, self._looked_at = self._look(running=False), self._clock()
            return self._found
        finally:
            self._lock.release()

    def _fresh(self) -> bool:
        return self._looked_at is not None and self._clock() - self._looked_at < FRESH_S

    def _look(self, *, running: bool) -> list[Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for filters in (_BY_LABEL, _BY_NAME):
            query = urlencode({"all": "0" if running else "1", "filters": json.dumps(filters)})
            found.update((str(entry["Id"]), entry) for entry in self._docker.call("GET", f"/containers/json?{query}"))
        return [entry for entry in found.values() if UID_LABEL not in _labels(entry)]


def _labels(entry: Mapping[str, Any]) -> Mapping[str, str]:
    return entry.get("Labels") or {}


def _owned(entry: Mapping[str, Any], user: str, uid: int) -> bool:
    mark = marked(_labels(entry), own_name(entry), {uid: user})
    return mark is not None and mark.uid == uid
