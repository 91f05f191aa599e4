# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Many people at work at once, each as themselves: containers made, started, ended and removed in an order drawn by lot.

Nobody gives up when an answer does not come: whatever a killed program left of a request is found by the next one.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter
from typing import Any

from tests.integration.daemons import wait_until
from tests.integration.gate.people import Desk

V = "/v1.45"
MOST_KEPT = 2
CUT_OFF = 0
"""Instead of a status: the connection ended before the answer."""


class Tally:
    """What was asked and what came back; ``begun``: the containers that were started. Safe for several threads."""

    def __init__(self, starts: int) -> None:
        self._lock = threading.Lock()
        self._wanted = starts
        self.starts = 0
        self.started = 0
        self.begun: set[str] = set()
        self.answers: Counter[tuple[str, int]] = Counter()
        self.messages: dict[tuple[str, int], Counter[str]] = {}

    def another_start(self) -> bool:
        """Whether one more start is wanted: until so many have succeeded. It counts as asked for."""
        with self._lock:
            if self.started >= self._wanted:
                return False
            self.starts += 1
            return True

    def note(self, what: str, status: int, message: str) -> None:
        """One answer."""
        with self._lock:
            self.answers[what, status] += 1
            if status >= 400:
                self.messages.setdefault((what, status), Counter())[message[:160]] += 1
            self.started += what == "start" and status == 204

    def unexpected(self) -> list[str]:
        """Answers that no kill explains: a 500 or 502 of anybody's, or a refusal of something that is one's own right."""
        return [
            f"{what} {status} x{count}: {dict(self.messages.get((what, status), {}))}"
            for (what, status), count in sorted(self.answers.items())
            if status not in _EXPECTED[what] and not self._only_said((what, status), count)
        ]

    def _only_said(self, answer: tuple[str, int], count: int) -> bool:
        """Whether all of these answers said what dockerd says with this status and another would suit better."""
        words = _EXPECTED_WORDS.get(answer)
        said = self.messages.get(answer, Counter())
        return words is not None and sum(times for message, times in said.items() if words in message) == count


_AWAY = {CUT_OFF, 503}
_EXPECTED = {
    "create": {201, *_AWAY},
    # 304: it runs already; 404: removed by its own --rm or by a request that was cut off; 409: no GPU is free, or it is being removed
    "start": {204, 304, 404, 409, *_AWAY},
    "stop": {204, 304, 404, *_AWAY},
    "kill": {204, 404, 409, *_AWAY},
    "restart": {204, 404, 409, *_AWAY},
    "remove": {204, 404, 409, *_AWAY},
    "look": {200, 404, *_AWAY},
}

# dockerd says 409 when a start comes upon a removal that is under way, and 500 when the start is the second half of a restart.
_EXPECTED_WORDS = {("restart", 500): "is marked for removal and cannot be started"}


class Worker(threading.Thread):
    """One person's day. Ends when no more starts are wanted; ``done`` says so."""

    def __init__(self, desk: Desk, tally: Tally, seed: int) -> None:
        super().__init__(name=f"worker-{seed}", daemon=True)
        self._desk = desk
        self._tally = tally
        self._lot = random.Random(seed)
        self._kept: list[str] = []
        self._answer: Any = None
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while self._tally.another_start():
                self._errand()
        except BaseException as error:
            self.failure = error

    def _errand(self) -> None:
        lot = self._lot
        if self._kept and lot.random() < 0.25:
            identity = lot.choice(self._kept)
            again = ("restart", "restart?t=0") if lot.random() < 0.3 else ("start", "start")
            self._ask(again[0], "POST", f"{identity}/{again[1]}")
        else:
            made = self._create()
            if made is None:
                return
            identity = made
            if self._ask("start", "POST", f"{identity}/start") == 409:
                while self._kept:
                    self._remove(self._kept[0])
                return
        if lot.random() < 0.3:
            self._ask("look", "GET", f"{identity}/json")
        if len(self._kept) > MOST_KEPT or lot.random() < 0.6:
            self._end(identity)
        while len(self._kept) > MOST_KEPT:
            self._remove(self._kept[0])

    def _create(self) -> str | None:
        lot = self._lot
        gpus = lot.choice((0, 1, 1, 1, 2))
        host: dict[str, Any] = {"NetworkMode": "none", "AutoRemove": lot.random() < 0.3}
        if gpus:
            host["DeviceRequests"] = [{"Count": gpus, "Capabilities": [["gpu"]]}]
        command = lot.choice((["true"], ["sleep", "600"], ["sleep", "600"]))
        body = {"Image": "busybox", "Cmd": command, "HostConfig": host}
        if self._ask("create", "POST", "create", body) != 201:
            return None
        self._kept.append(self._answer["Id"])
        return str(self._answer["Id"])

    def _end(self, identity: str) -> None:
        way = self._lot.choice(("stop", "kill", "remove", "remove"))
        if way == "remove":
            self._remove(identity)
        else:
            self._ask(way, "POST", f"{identity}/{way}{'?t=0' if way == 'stop' else ''}")

    def _remove(self, identity: str) -> None:
        while self._ask("remove", "DELETE", f"{identity}?force=1&v=1") in _AWAY:
            self._wait_for_the_daemon()
        self._kept.remove(identity)

    def _wait_for_the_daemon(self) -> None:
        """Until dockerd answers through the gate."""

        def answers() -> bool:
            with contextlib.suppress(OSError, ValueError):
                return self._desk.ask("GET", "/_ping").status == 200
            return False

        wait_until(answers, 90, "an answer of dockerd")

    def _ask(self, what: str, method: str, target: str, body: Any = None) -> int:
        """The status; a decoded answer is then in ``_answer``."""
        try:
            reply = self._desk.ask(method, f"{V}/containers/{target}", body)
        except (OSError, ValueError):  # reset, closed, or cut off in the middle of a number
            self._tally.note(what, CUT_OFF, "")
            return CUT_OFF
        if reply.status == 503:
            self._wait_for_the_daemon()
        good = 200 <= reply.status < 300
        if what == "start" and good:
            self._tally.begun.add(target.partition("/")[0])
        self._tally.note(what, reply.status, "" if good or not reply.body else reply.message)
        self._answer = reply.json if good and reply.body else None
        return reply.status
