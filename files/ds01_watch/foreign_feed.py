# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Looks every second for containers of other engines than dockerd; reads those that are new, and keeps what it read."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ds01.core.workload_facts import ContainerFacts
from ds01.foreign_containers import ForeignEngines, Found

LOOK_S = 1.0


class ForeignFeed:
    """``changed`` is called when one came or went."""

    def __init__(self, engines: ForeignEngines, changed: Callable[[], None]) -> None:
        self._engines = engines
        self._changed = changed
        self._table: dict[Found, ContainerFacts] = {}

    def start(self) -> None:
        """Start the feed's thread."""
        threading.Thread(target=self._run, name="foreign-feed", daemon=True).start()

    def containers(self) -> tuple[ContainerFacts, ...]:
        """Every one that runs, by name."""
        return tuple(sorted(self._table.values(), key=lambda facts: (facts.name, facts.id)))

    def look(self) -> None:
        """One look. A container whose files are not written yet is tried again at the next."""
        before, table = self._table, {}
        for found in self._engines.running():
            facts = before.get(found) or self._engines.facts(found)
            if facts is not None:
                table[found] = facts
        self._table = table
        if table.keys() != before.keys():
            self._changed()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self.look()
            pause.wait(LOOK_S)
