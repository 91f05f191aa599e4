# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The event log: what is written is found again, whole, by whoever asks for it, also with many writers and a rotation under way."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.event import KINDS, LINE_LIMIT, Event, line
from ds01.core.event_query import EventQuery
from ds01.event_log import EventLog

NOON = 1_790_000_000.0


def _log(tmp_path: Path) -> EventLog:
    return EventLog(str(tmp_path / "events.jsonl"))


def test_each_question_finds_its_events_and_no_other(tmp_path: Path) -> None:
    log = _log(tmp_path)
    events = [
        Event("claim.granted", NOON, user="alice", uid=1, container="train", container_id="ab" * 32, gpus=("GPU-1",), by="gate"),
        Event("claim.released", NOON + 60, user="alice", uid=1, container="train", gpus=("GPU-1",)),
        Event("container.die", NOON + 61, user="bob", uid=2, container="alice", details={"exit_code": 0}),
        Event("gate.denied", NOON + 62, user='a"l\\ice', uid=3, details={"why": '"user":"alice"'}),
    ]
    for event in events:
        log.append(event)

    def found(**asked: object) -> list[int]:
        times = [record["time"] for record in log.read(EventQuery(**asked))]  # type: ignore[arg-type]
        return [position for position, event in enumerate(events) if json.loads(line(event))["time"] in times]

    assert found() == [0, 1, 2, 3]
    assert found(user="alice") == [0, 1]
    assert found(user='a"l\\ice') == [3]
    assert found(kind="claim.*") == [0, 1]
    assert found(kind="claim.granted") == [0]
    assert found(kind="claim") == []
    assert found(container="train") == [0, 1]
    assert found(container="abababababab") == [0]
    assert found(container="ab") == []
    assert found(gpu="GPU-1") == [0, 1]
    assert found(since=NOON + 60, until=NOON + 61) == [1, 2]
    assert found(until=NOON) == [0]


@given(st.text(max_size=200), st.text(max_size=6000), st.sampled_from(sorted(KINDS)))
def test_a_line_is_one_line_of_bounded_length_and_keeps_its_kind(user: str, detail: str, kind: str) -> None:
    data = line(Event(kind, NOON, user=user, details={"text": detail}))
    assert len(data) <= LINE_LIMIT
    assert data.count(b"\n") == 1
    record = json.loads(data)
    assert record["kind"] == kind
    if user:
        assert record.get("user", user) == user


def test_an_unknown_kind_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match=r"claim\.grant"):
        line(Event("claim.grant", NOON))


def test_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    log = _log(tmp_path)
    log.append(Event("claim.granted", NOON, user="alice"))
    with open(log.path, "ab") as stream:
        stream.write(b'{"time":"2026-09-21T1\n')
    log.append(Event("claim.released", NOON, user="alice"))
    assert len(list(log.read(EventQuery()))) == 2


def _write_many(path: str, who: int, count: int) -> None:
    log = EventLog(path)
    for number in range(count):
        log.append(Event("container.start", NOON + number, user=f"user{who}", details={"n": number}))


def test_twenty_writers_and_rotations_lose_nothing(tmp_path: Path) -> None:
    log = _log(tmp_path)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(log.path, who, 100)) for who in range(20)]
    for writer in writers:
        writer.start()
    rotated = 0
    while any(writer.is_alive() for writer in writers):
        if os.path.exists(log.path):
            rotated += 1
            os.rename(log.path, f"{log.path}.{rotated}")
        writers[0].join(0.02)
    assert all(writer.exitcode == 0 for writer in writers)
    records = list(log.read(EventQuery()))
    assert rotated > 1
    assert sorted((r["user"], r["details"]["n"]) for r in records) == sorted((f"user{w}", n) for w in range(20) for n in range(100))


def test_compressed_predecessors_are_read(tmp_path: Path) -> None:
    log = _log(tmp_path)
    log.append(Event("claim.granted", NOON, user="alice"))
    with open(log.path, "rb") as stream, gzip.open(log.path + "-20260921.gz", "wb") as packed:
        packed.write(stream.read())
    os.unlink(log.path)
    assert [r["user"] for r in log.read(EventQuery(user="alice"))] == ["alice"]


def test_a_hundred_thousand_events_by_user_in_under_two_seconds(tmp_path: Path) -> None:
    log = _log(tmp_path)
    with open(log.path, "wb") as stream:
        for number in range(100_000):
            event = Event(
                "container.start",
                NOON + number,
                user=f"user{number % 30}",
                container="train",
                container_id=f"{number:064x}",
                gpus=("GPU-1",),
            )
            stream.write(line(event))
    started = time.process_time()
    assert len(list(log.read(EventQuery(user="user7")))) == 3334
    assert time.process_time() - started < 2


def test_the_last_events_are_found_without_opening_what_is_older(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path / "events.jsonl"))
    for number in range(10):
        log.append(Event("container.start", 1000.0 + number, container=f"c{number}"))
        if number in (3, 6):
            os.rename(log.path, f"{log.path}.{number}")
            os.utime(f"{log.path}.{number}", (1000 + number, 1000 + number))

    def names(count: int) -> list[str]:
        return [record["container"] for record in log.last(EventQuery(), count)]

    assert names(2) == ["c8", "c9"]
    assert names(5) == ["c5", "c6", "c7", "c8", "c9"]
    assert names(100) == [f"c{number}" for number in range(10)]
    assert names(0) == []
    (tmp_path / "events.jsonl.3").unlink()
    (tmp_path / "events.jsonl.3").mkdir()  # opening it would be an error
    os.utime(tmp_path / "events.jsonl.3", (1003, 1003))
    assert names(4) == ["c6", "c7", "c8", "c9"]
