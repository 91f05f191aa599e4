# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 queue``, and ``ds01 events`` for people who may not read the log: what is asked of the gate, and what is shown."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from ds01_cli import events_command, queue_command
from ds01_cli.__main__ import main

from ds01.core.event_query import EventQuery

ENTRY = {
    "id": "q000000000001",
    "user": "student1",
    "request": "count=1,profile=2g.10gb",
    "joined_at": 1000.0,
    "position": 2,
    "expected_at": 1600.0,
    "container_id": None,
    "offer": None,
}
OFFER = {"devices": [{"gpu": "GPU-1", "profile": "2g.10gb", "memory_mib": 9856, "mig_uuid": "MIG-1"}], "until": 1900.0}


class Gate:
    """Remembers what was asked and answers the same to all."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, Any]] = []

    def __call__(self, route: str, *, method: str = "GET", body: Any = None, seconds: float = 10.0) -> Any:
        self.asked.append((method, route, body))
        return self.answer


@pytest.mark.parametrize(
    ("arguments", "answer", "asked", "said"),
    [
        ([], {"waiting": 3, "entries": [ENTRY]}, ("GET", "queue", None), "student1"),
        (["status"], {"waiting": 3, "entries": []}, ("GET", "queue", None), "ds01 queue join"),
        (["join"], ENTRY, ("POST", "queue", {"request": "all"}), "2g.10gb"),
        (["join", "2g.10gb"], {**ENTRY, "position": 0, "offer": OFFER}, ("POST", "queue", {"request": "2g.10gb"}), "docker run --gpus all"),
        (["leave"], {"left": True}, ("DELETE", "queue", None), "You left the queue."),
        (["leave"], {"left": False}, ("DELETE", "queue", None), "You did not wait."),
    ],
)
def test_what_is_asked_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], answer: Any, asked: Any, said: str
) -> None:
    gate = Gate(answer)
    monkeypatch.setattr(queue_command, "ask", gate)
    assert main(["queue", *arguments]) == 0
    assert gate.asked == [asked]
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["join"], ["leave"]])
def test_json_is_the_gates_document(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    monkeypatch.setattr(queue_command, "ask", Gate({"position": 1, "entries": []}))
    assert main(["queue", *arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"position": 1, "entries": []}


def test_a_request_goes_with_join_only() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["queue", "leave", "2g.10gb"])
    assert ended.value.code == 2


def test_the_table_says_place_and_time() -> None:
    text = queue_command.render({"waiting": 2, "entries": [ENTRY, {**ENTRY, "offer": OFFER, "position": 0}]}, 1300.0)
    assert "within 5m" in text
    assert "2g.10gb kept for another 10m" in text


def test_who_may_not_read_the_log_asks_the_gate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    gate = Gate({"events": [{"time": "2026-01-01T00:00:00.000Z", "kind": "claim.granted", "user": "student1", "container": "thesis"}]})

    def closed(*_: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(events_command, "ask", gate)
    monkeypatch.setattr("ds01.event_log.EventLog.last", closed)
    assert main(["events", "--kind", "claim.*", "--container", "the sis"]) == 0
    assert gate.asked == [("GET", "events?container=the+sis&kind=claim.%2A&limit=50", None)]
    assert "thesis" in capsys.readouterr().out


def test_who_may_not_read_the_log_follows_it_through_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = ({"time": f"2026-01-01T00:00:0{n}.000Z", "kind": "claim.granted", "user": "student1"} for n in (1, 2))
    answers = [[first], [first, second], [second]]
    asked: list[EventQuery] = []

    def gate(query: EventQuery, _last: int | None) -> list[dict[str, Any]]:
        asked.append(query)
        return answers.pop(0)

    monkeypatch.setattr(events_command, "through_gate", gate)
    monkeypatch.setattr(events_command, "_ASK_S", 0)
    following = events_command.follow_gate(EventQuery(kind="claim.*"), gate(EventQuery(), None), threading.Event())
    assert next(following) == second
    with pytest.raises(IndexError):
        next(following)
    assert all(one.kind == "claim.*" and one.since is not None for one in asked[1:])


def test_the_command_knows_the_route_that_the_gate_has() -> None:
    described = json.loads((Path(__file__).resolve().parents[3] / "docs" / "openapi.json").read_text())
    assert set(described["paths"]["/ds01/v1/queue"]) == {"get", "post", "delete"}
