# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Who there is on this host: names and homes, for attributing containers and processes."""

from __future__ import annotations

import pwd
import time
from collections.abc import Callable

from .core.workload_facts import People

_PEOPLE_AGE_S = 60.0


class Accounts:
    """The account database, read at most once a minute; people that only a directory knows are added as they are met."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._read_at: float | None = None
        self._names: dict[int, str] = {}
        self._homes: dict[str, str] = {}

    def now(self, uids: set[int]) -> People:
        """Everybody known, with the people of these uids among them."""
        if self._read_at is None or self._clock() - self._read_at > _PEOPLE_AGE_S:
            self._names, self._homes = {}, {}
            for entry in pwd.getpwall():
                self._add(entry)
            self._read_at = self._clock()
        for uid in uids - self._names.keys():
            try:
                self._add(pwd.getpwuid(uid))
            except KeyError:
                self._names[uid] = str(uid)
        return People(dict(self._names), dict(self._homes))

    def _add(self, entry: pwd.struct_passwd) -> None:
        self._names[entry.pw_uid] = entry.pw_name
        if entry.pw_uid >= 1000:
            self._homes[entry.pw_name] = entry.pw_dir
