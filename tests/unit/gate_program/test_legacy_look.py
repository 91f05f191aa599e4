# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Looking for containers of before the gate: seldom, by their marks, and without holding anybody up."""

from __future__ import annotations

import json
import threading
from typing import Any
from urllib.parse import parse_qs, urlparse

from ds01.legacy_containers import FRESH_S, LegacyContainers

CONTAINERS = [
    {"Id": "1", "Names": ["/train._.5001"], "Labels": None, "State": "running"},
    {"Id": "2", "Names": ["/x/alias", "/box"], "Labels": {"aime.mlc.USER": "alice", "ds01.user": "alice"}, "State": "running"},
    {"Id": "3", "Names": ["/new._.5001"], "Labels": {"ds01.uid": "5002", "ds01.user": "bob"}, "State": "running"},
    {"Id": "4", "Names": ["/mixed._.5002"], "Labels": {"aime.mlc.USER": "alice"}, "State": "exited"},
    {"Id": "5", "Names": ["/plain"], "Labels": {}, "State": "running"},
]


class Daemon:
    def __init__(self) -> None:
        self.asked = 0
        self.hold: threading.Event | None = None
        self.holding = threading.Event()

    def call(self, _method: str, target: str) -> list[dict[str, Any]]:
        self.asked += 1
        if self.hold is not None:
            self.holding.set()
            self.hold.wait(10)
        query = parse_qs(urlparse(target).query)
        filters = json.loads(query["filters"][0])
        listed = [one for one in CONTAINERS if query["all"] == ["1"] or one["State"] == "running"]
        if "label" in filters:
            return [one for one in listed if filters["label"][0] in (one["Labels"] or {})]
        return [one for one in listed if any("._." in name for name in one["Names"])]


def test_marks_are_counted_once_and_looked_for_seldom() -> None:
    daemon, now = Daemon(), [0.0]
    book = LegacyContainers(daemon, clock=lambda: now[0])  # type: ignore[arg-type]
    assert [book.count(*who) for who in (("alice", 5001), ("bob", 5002), ("eve", 5003))] == [2, 0, 0]
    assert daemon.asked == 2
    now[0] = FRESH_S
    assert book.count("alice", 5001) == 2
    assert daemon.asked == 4
    assert book.running_unlabelled("alice", 5001) == 1
    assert book.running_unlabelled("bob", 5002) == 0


def test_nobody_waits_while_somebody_looks() -> None:
    daemon, now = Daemon(), [0.0]
    book = LegacyContainers(daemon, clock=lambda: now[0])  # type: ignore[arg-type]
    book.count("alice", 5001)
    now[0], daemon.hold = FRESH_S, threading.Event()
    looking = threading.Thread(target=book.count, args=("alice", 5001))
    looking.start()
    assert daemon.holding.wait(10)
    assert book.count("alice", 5001) == 2
    daemon.hold.set()
    looking.join(10)
    assert not looking.is_alive()
