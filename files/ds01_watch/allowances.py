# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What policy allows the people who are seen here: looked up in a thread of its own, because a directory service can keep one waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ds01.core.policy_problems import PolicyError
from ds01.policy_file import Resolver

REFRESH_S = 60.0


@dataclass(frozen=True)
class Allowance:
    """``equivalents`` is the person's quota in GPU-equivalents, None without limit."""

    uid: int
    user: str
    group: str
    equivalents: float | None


class Allowances:
    """``uids`` gives the people that matter now."""

    def __init__(self, resolver: Resolver, uids: Callable[[], set[int]]) -> None:
        self._resolver = resolver
        self._uids = uids
        self._lock = threading.Lock()
        self._found: tuple[Allowance, ...] = ()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="allowances", daemon=True).start()

    def now(self) -> tuple[Allowance, ...]:
        """What was found last, by uid."""
        with self._lock:
            return self._found

    def refresh(self) -> None:
        """Look everybody up; who is not known, or without a valid policy, has no allowance here."""
        found = []
        for uid in sorted(self._uids()):
            try:
                limits = self._resolver.limits(uid)
            except (LookupError, PolicyError, OSError):
                continue
            quota = limits.gpu.equivalents
            found.append(Allowance(uid, limits.user, limits.group, None if quota is None else float(quota)))
        with self._lock:
            self._found = tuple(found)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self.refresh()
            pause.wait(REFRESH_S if self.now() else 5.0)
