# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""When all containers are looked at: a site that asks for frequent looks gets them from the start on."""

from __future__ import annotations

import io
import threading
from typing import Any

from ds01_gate.audit import Audit
from ds01_gate.event_watch import EventWatch

from ds01.docker_upstream import DaemonUnavailable


class NoDaemon:
    def events(self, _query: dict[str, str]) -> Any:
        raise DaemonUnavailable("away")


class Keeper:
    def __init__(self) -> None:
        self.thrice = threading.Event()
        self._looks = 0

    def expire(self) -> None:
        return None

    def reconcile(self, *, first: bool) -> None:
        self._looks += 1
        if self._looks == 3:
            self.thrice.set()

    def restart_failed(self, _limits_of: Any) -> None:
        return None


def test_the_first_looks_are_no_later_than_the_others() -> None:
    keeper = Keeper()
    watch = EventWatch(NoDaemon(), keeper, lambda _uid: None, Audit(io.StringIO()), 0.02)  # type: ignore[arg-type,return-value]
    watch.start()
    try:
        assert keeper.thrice.wait(4.5), "three looks did not come within the time of the usual first one"
    finally:
        watch.stop()
