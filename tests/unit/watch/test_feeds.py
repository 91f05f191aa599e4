# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The watcher's feeds under a dockerd that blinks and an NVML that dies, hangs or stutters."""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from ds01_watch.docker_feed import DockerFeed
from ds01_watch.gpu_feed import GpuFeed

from ds01.container_reader import epoch
from ds01.docker_upstream import DockerClient

ID = "ab" * 32
WORD = {"inventory": {}, "gpus": {}, "failed": {}}


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        threading.Event().wait(0.01)


class FakeDockerd(socketserver.ThreadingUnixStreamServer):
    """Answers lists and inspects from ``containers`` and streams ``events`` until ``hang_up`` is set."""

    daemon_threads = True
    containers: dict[str, str]
    events: list[dict]  # type: ignore[type-arg]
    hang_up: threading.Event
    asked_since: list[str]
    broken: dict[str, str]
    states: dict[str, dict[str, object]]
    dying: bool


class _Handler(socketserver.StreamRequestHandler):
    server: FakeDockerd

    def handle(self) -> None:
        target = self.rfile.readline().decode().split()[1]
        while self.rfile.readline().strip():
            continue
        if target.startswith("/events"):
            self.server.asked_since.append(target)
            self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            sent = 0
            while not self.server.hang_up.wait(0.01):
                for event in self.server.events[sent:]:
                    self.wfile.write(json.dumps(event).encode() + b"\n")
                    sent += 1
            return
        if self.server.dying:
            return
        name = target.split("/")[2]
        listed = {**self.server.containers, **self.server.broken}
        body: object = [{"Id": one, "Names": [f"/{name}"], "State": "running"} for one, name in listed.items()]
        if name in self.server.containers:
            body = {
                "Id": name,
                "Name": f"/{self.server.containers[name]}",
                "Config": {"Labels": {}},
                "State": self.server.states.get(name, {"Running": False}),
                "Created": "",
            }
        elif name in self.server.broken:
            self.wfile.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}")
            return
        elif "json?all" not in target:
            self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")
            return
        data = json.dumps(body).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)


@pytest.fixture
def dockerd(tmp_path: Path) -> Iterator[FakeDockerd]:
    server = FakeDockerd(str(tmp_path / "d.sock"), _Handler)
    server.containers, server.events, server.hang_up, server.asked_since = {}, [], threading.Event(), []
    server.broken, server.states, server.dying = {}, {}, False
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.hang_up.set()
    server.shutdown()
    server.server_close()


def since(target: str) -> int:
    """The moment that an events request names, in nanoseconds."""
    whole, _, nano = parse_qs(urlsplit(target).query)["since"][0].partition(".")
    return int(whole) * 10**9 + int(nano)


def event(action: str, container: str, nano: int) -> dict:  # type: ignore[type-arg]
    return {"Action": action, "Actor": {"ID": container, "Attributes": {"name": "train", "ds01.uid": "7"}}, "timeNano": nano}


def test_events_reach_the_table_and_a_blink_of_dockerd_ends_nothing(dockerd: FakeDockerd) -> None:
    said: list[tuple[str, str]] = []
    feed = DockerFeed(DockerClient(str(dockerd.server_address)), lambda action, facts, _: said.append((action, facts.name)), lambda: None)
    dockerd.containers = {ID: "train"}
    feed.start()
    eventually(lambda: [c.name for c in feed.containers()] == ["train"])
    base = time.time_ns() + 10**9
    dockerd.containers["cd" * 32] = "second"
    dockerd.events.append(event("create", "cd" * 32, base))
    eventually(lambda: len(feed.containers()) == 2)
    dockerd.hang_up.set()
    eventually(lambda: feed.trouble()[0] is not None)
    assert len(feed.containers()) == 2
    dockerd.hang_up = threading.Event()
    eventually(lambda: feed.trouble() == (None, None))
    assert base - 10 * 10**9 < since(dockerd.asked_since[-1]) < base
    dockerd.containers.pop("cd" * 32)
    dockerd.events.append(event("destroy", "cd" * 32, base + 1))
    eventually(lambda: len(feed.containers()) == 1)
    assert said == [("create", "second"), ("destroy", "second")]


def test_a_container_that_came_and_went_unseen_still_has_its_owner(dockerd: FakeDockerd) -> None:
    labels: list[str] = []
    feed = DockerFeed(
        DockerClient(str(dockerd.server_address)), lambda action, facts, _: labels.append(facts.labels.get("ds01.uid", "")), lambda: None
    )
    feed.start()
    eventually(lambda: feed.trouble() == (None, None))
    dockerd.events.append(event("die", ID, time.time_ns() + 10**9))
    eventually(lambda: labels == ["7"])


def following(dockerd: FakeDockerd, **options: int) -> tuple[DockerFeed, list[tuple[str, str]]]:
    """A feed that has reconciled, and what it says."""
    said: list[tuple[str, str]] = []
    feed = DockerFeed(
        DockerClient(str(dockerd.server_address)), lambda action, facts, _: said.append((action, facts.name)), lambda: None, **options
    )
    feed.start()
    eventually(lambda: feed.trouble() == (None, None))
    return feed, said


def reconnect(dockerd: FakeDockerd, feed: DockerFeed, meanwhile: Callable[[], None]) -> None:
    """dockerd goes away and comes back anew: it has forgotten its events."""
    dockerd.hang_up.set()
    eventually(lambda: feed.trouble()[0] is not None)
    meanwhile()
    dockerd.events = []
    dockerd.hang_up = threading.Event()
    eventually(lambda: feed.trouble() == (None, None))


def test_an_event_that_comes_late_or_after_the_clock_was_set_back_is_not_lost(dockerd: FakeDockerd) -> None:
    _, said = following(dockerd)
    base = time.time_ns() + 10**9
    hour = 3600 * 10**9
    dockerd.events += [event("create", "aa" * 32, base), event("start", "bb" * 32, base - 5), event("die", "cc" * 32, base - hour)]
    dockerd.events.append(event("create", "aa" * 32, base))
    eventually(lambda: len(said) == 3)
    dockerd.events.append(event("oom", "dd" * 32, base - hour + 1))
    eventually(lambda: len(said) == 4)
    assert [action for action, _ in said] == ["create", "start", "die", "oom"]


def test_what_happened_while_dockerd_forgot_is_concluded_once_and_said_to_be(dockerd: FakeDockerd) -> None:
    running = {"Running": True, "StartedAt": "2026-01-01T00:00:00Z"}
    dockerd.containers = {"aa" * 32: "removed", "bb" * 32: "ended", "cc" * 32: "restarted", "dd" * 32: "untouched"}
    dockerd.states = dict.fromkeys(dockerd.containers, running)
    feed, said = following(dockerd)

    def meanwhile() -> None:
        del dockerd.containers["aa" * 32]
        dockerd.states["bb" * 32] = {"Running": False}
        dockerd.states["cc" * 32] = {"Running": True, "StartedAt": "2026-01-02T00:00:00Z"}
        dockerd.containers["ee" * 32] = "new"

    reconnect(dockerd, feed, meanwhile)
    assert feed.concluded() == [], "dockerd was given no time to say it itself"
    dockerd.events.append(event("create", "ee" * 32, time.time_ns()))
    found: list[tuple[str, str]] = []
    eventually(lambda: found.extend((action, facts.name) for action, facts in feed.concluded()) or len(found) >= 5)
    assert sorted(found) == [("destroy", "removed"), ("die", "ended"), ("die", "removed"), ("die", "restarted"), ("start", "restarted")]
    assert said == [("create", "new")]
    assert feed.concluded() == []


def test_what_a_dying_dockerd_had_sent_is_told(dockerd: FakeDockerd) -> None:
    """The events lie in the socket when dockerd does not answer questions about their containers any more."""
    feed, said = following(dockerd)
    base = time.time_ns()
    dockerd.dying = True
    dockerd.events += [event("start", "aa" * 32, base), event("create", "bb" * 32, base + 1), event("destroy", "bb" * 32, base + 2)]
    eventually(lambda: len(said) == 3)
    assert [action for action, _ in said] == ["start", "create", "destroy"]
    assert {one.id: one.running for one in feed.containers()} == {"aa" * 32: True}
    dockerd.dying = False
    dockerd.containers = {"aa" * 32: "train"}
    dockerd.states = {"aa" * 32: {"Running": True, "StartedAt": "2026-01-01T00:00:00Z"}}
    reconnect(dockerd, feed, lambda: None)
    dockerd.events.append(event("die", "aa" * 32, base + 3))
    eventually(lambda: len(said) == 4)
    assert said[3] == ("die", "train"), "an end was concluded of what ran on"


def test_what_was_concluded_is_told_before_what_came_after_it(dockerd: FakeDockerd) -> None:
    dockerd.containers = {"cc" * 32: "restarted"}
    dockerd.states = {"cc" * 32: {"Running": True, "StartedAt": "2026-01-01T00:00:00Z"}}
    feed, said = following(dockerd)

    def meanwhile() -> None:
        dockerd.states["cc" * 32] = {"Running": False, "StartedAt": "2026-01-01T00:00:00Z"}
        dockerd.containers["ee" * 32] = "short"
        dockerd.states["ee" * 32] = {"Running": False, "StartedAt": "2026-01-02T00:00:00Z"}

    reconnect(dockerd, feed, meanwhile)
    dockerd.states["cc" * 32] = {"Running": True, "StartedAt": "2026-01-03T00:00:00Z"}
    now = time.time_ns()
    dockerd.events += [event("start", "cc" * 32, now), event("destroy", "ee" * 32, now + 1)]
    eventually(lambda: len(said) == 6)
    assert said[:2] == [("die", "restarted"), ("start", "restarted")]
    assert said[2:] == [("create", "short"), ("start", "short"), ("die", "short"), ("destroy", "short")]
    assert feed.concluded() == []


def test_an_event_counts_as_heard_when_it_has_been_told(dockerd: FakeDockerd) -> None:
    """A watcher that is killed while it tells one leaves it to the next."""
    heard: list[int] = []
    feed = DockerFeed(DockerClient(str(dockerd.server_address)), lambda *_: heard.append(feed.heard_nano()), lambda: None)
    feed.start()
    eventually(lambda: feed.trouble() == (None, None))
    base = time.time_ns() + 10**9
    dockerd.events.append(event("create", ID, base))
    eventually(lambda: feed.heard_nano() == base)
    assert heard[0] < base


def test_one_container_that_dockerd_cannot_describe_hides_no_other(dockerd: FakeDockerd) -> None:
    dockerd.containers = {ID: "train"}
    dockerd.broken = {"ff" * 32: "broken"}
    feed, _ = following(dockerd)
    assert [(one.name, one.running) for one in feed.containers()] == [("broken", True), ("train", False)]


def test_a_watcher_that_is_started_anew_goes_on_where_the_last_one_stopped(dockerd: FakeDockerd) -> None:
    heard = time.time_ns() - 60 * 10**9
    dockerd.events = [event("create", "aa" * 32, heard), event("start", "bb" * 32, heard + 1)]
    feed, said = following(dockerd, heard_nano=heard)
    eventually(lambda: [action for action, _ in said] == ["start"])
    assert since(dockerd.asked_since[0]) <= heard
    assert feed.heard_nano() == heard + 1


def test_an_answer_of_another_shape_does_not_end_the_feed(dockerd: FakeDockerd) -> None:
    feed, said = following(dockerd)
    dockerd.events.append({"Action": "start", "Actor": None, "timeNano": 1})
    eventually(lambda: feed.trouble()[0] is not None)
    dockerd.events = [event("start", ID, time.time_ns())]
    eventually(lambda: said == [("start", "train")])


def feed_of(script: str, interval: float = 0.05) -> tuple[GpuFeed, list[float]]:
    words: list[float] = []
    feed = GpuFeed(interval, lambda: words.append(time.monotonic()), [sys.executable, "-c", script])
    feed.start()
    return feed, words


def test_a_worker_that_hangs_is_said_and_replaced_and_one_that_will_not_die_is_left_behind(tmp_path: Path) -> None:
    marks = tmp_path / "starts"
    script = f"{SAY}open({str(marks)!r},'a').write('x')\nsay(word)\nimport os\nwhile os.getppid() == {os.getpid()}: time.sleep(0.05)"
    feed = GpuFeed(0.05, lambda: None, [sys.executable, "-c", script], patience=0.2)
    feed.start()
    eventually(lambda: marks.exists() and len(marks.read_text()) >= 2)
    look, age, _ = feed.latest()
    assert look == WORD
    assert age is not None
    assert feed.stuck == 0


def test_a_worker_that_says_nonsense_does_not_end_the_feed(tmp_path: Path) -> None:
    marks = tmp_path / "starts"
    feed, _ = feed_of(f"{SAY}open({str(marks)!r},'a').write('x')\nprint('no json', flush=True)\nsay(word)")
    eventually(lambda: marks.exists() and len(marks.read_text()) >= 2)
    assert "JSONDecodeError" in str(feed.latest()[2])


SAY = f"import json,sys,time\nsay = lambda d: print(json.dumps(d), flush=True)\nword = {WORD!r}\n"


def test_a_worker_that_dies_is_started_anew(tmp_path: Path) -> None:
    marks = tmp_path / "starts"
    feed, _ = feed_of(f"{SAY}open({str(marks)!r},'a').write('x')\nsay(word)")
    eventually(lambda: marks.exists() and len(marks.read_text()) >= 3)
    assert feed.latest()[0] == WORD


def test_an_error_is_said_and_the_last_word_keeps_its_age(tmp_path: Path) -> None:
    feed, words = feed_of(f"{SAY}say(word)\nsay({{'error': 'no driver'}})\ntime.sleep(60)")
    eventually(lambda: len(words) >= 2)
    look, age, error = feed.latest()
    assert look == WORD
    assert error == "no driver"
    assert age is not None and age < 10


def test_docker_times_are_read_to_the_nanosecond_on_every_python() -> None:
    assert epoch("2026-01-02T03:04:05.123456789Z") == pytest.approx(1767323045.123456789)
    assert epoch("2026-01-02T03:04:05Z") == 1767323045.0
    assert epoch("0001-01-01T00:00:00Z") == 0.0
    assert os.environ.get("TZ") is None or epoch("2026-07-01T00:00:00Z") == 1782864000.0
