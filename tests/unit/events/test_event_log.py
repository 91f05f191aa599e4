# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The event log: what is written is found again, whole, by whoever asks for it, also with many writers and a rotation under way."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import random
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01 import event_blocks, journald
from ds01.core.event import KINDS, LINE_LIMIT, Event, line
from ds01.core.event_query import EventQuery, select
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
    writers = [context.Process(target=_write_many, args=(log.path, who, 300)) for who in range(20)]
    for writer in writers:
        writer.start()
    rotated = 0
    while any(writer.is_alive() for writer in writers):
        if os.path.exists(log.path):
            rotated += 1
            os.rename(log.path, f"{log.path}.{rotated}")
        writers[-1].join(0.005)
    assert all(writer.exitcode == 0 for writer in writers)
    records = list(log.read(EventQuery()))
    assert rotated > 1
    assert sorted((r["user"], r["details"]["n"]) for r in records) == sorted((f"user{w}", n) for w in range(20) for n in range(300))


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


def test_blocks_give_what_a_look_at_every_line_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the plain way, with small blocks, a clock that was set back, a torn line and a file without a last newline."""
    monkeypatch.setattr(event_blocks, "BLOCK", 3000)
    log = _log(tmp_path)
    rng = random.Random(4)
    lines = []
    for number in range(800):
        at = NOON + number - (3600 if 300 <= number < 500 else 0)
        details = {"text": "x" * rng.choice((0, 10, 900, 2900)), "who": '"user":"user3"'}
        lines.append(line(Event(rng.choice(sorted(KINDS)), at, user=f"user{number % 7}", container=f"c{number % 5}", details=details)))
    lines.insert(400, b'{"time":"2026-09-21T1\n')
    data = b"".join(lines)[:-1]
    Path(log.path).write_bytes(data)
    for query in (
        EventQuery(),
        EventQuery(user="user3"),
        EventQuery(user="user3", kind="claim.*"),
        EventQuery(container="c2", since=NOON + 100, until=NOON + 320),
        EventQuery(since=NOON - 3200, until=NOON - 3150),
        EventQuery(until=NOON - 3290),
        EventQuery(user="nobody"),
    ):
        plain = [one for one in (select(raw, query, query.needles(), query.span()) for raw in data.split(b"\n")) if one is not None]
        assert list(log.read(query)) == plain
        assert log.last(query, 7) == plain[-7:]
        assert log.last(query, 10_000) == plain
        with gzip.open(log.path + "-1.gz", "wb") as packed:
            packed.write(data)
        os.rename(log.path, log.path + ".aside.lock")
        assert list(log.read(query)) == plain
        assert log.last(query, 7) == plain[-7:]
        os.rename(log.path + ".aside.lock", log.path)
        os.unlink(log.path + "-1.gz")


def test_the_last_events_of_a_long_log_cost_no_look_at_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = _log(tmp_path)
    with open(log.path, "wb") as stream:
        for number in range(20_000):
            stream.write(line(Event("container.start", NOON + number, user=f"user{number % 3}")))
    read: list[int] = []
    whole = event_blocks.in_block
    monkeypatch.setattr(event_blocks, "in_block", lambda block, query: read.append(len(block)) or whole(block, query))
    assert len(log.last(EventQuery(user="user1"), 5)) == 5
    assert len(list(log.read(EventQuery(since=NOON + 19_990)))) == 10
    assert sum(read) <= 3 * event_blocks.BLOCK


def test_a_rotation_between_the_listing_and_the_reading_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = _log(tmp_path)
    log.append(Event("claim.granted", NOON, user="alice"))
    rotated = EventLog._rotated

    def rotating(self: EventLog, besides: int | None = None) -> list[str]:
        os.rename(log.path, log.path + ".1")
        log.append(Event("claim.released", NOON, user="alice"))
        return rotated(self, besides)

    monkeypatch.setattr(EventLog, "_rotated", rotating)
    assert [one["kind"] for one in log.read(EventQuery())] == ["claim.granted"]


def test_users_can_neither_write_nor_truncate_nor_hold_up_the_log(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    directory.mkdir(mode=0o750)
    os.chown(directory, 0, 4)
    before = os.umask(0)
    try:
        log = EventLog(str(directory / "events.jsonl"))
        log.append(Event("claim.granted", NOON, user="alice"))
    finally:
        os.umask(before)
    found = {name: os.stat(directory / name) for name in ("events.jsonl", "events.jsonl.lock")}
    assert {name: (oct(at.st_mode & 0o777), at.st_uid) for name, at in found.items()} == {
        "events.jsonl": ("0o640", 0),
        "events.jsonl.lock": ("0o600", 0),
    }
    assert found["events.jsonl"].st_gid == 4


def test_a_link_in_the_log_s_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    os.symlink(tmp_path / "target", tmp_path / "events.jsonl")
    with pytest.raises(OSError, match="symbolic links"):
        EventLog(str(tmp_path / "events.jsonl")).append(Event("claim.granted", NOON))
    assert (tmp_path / "target").read_text() == "precious"


def test_a_full_disk_leaves_no_half_line_and_the_journal_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(tmp_path / "journal"))
    log = EventLog(str(tmp_path / "events.jsonl"), str(tmp_path / "journal"))
    log.append(Event("claim.granted", NOON, user="alice"))
    whole = Path(log.path).read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
    with pytest.raises(OSError, match="No space left"):
        log.append(Event("claim.released", NOON, user="alice"))
    assert Path(log.path).read_bytes() == whole
    entries = [heard.recv(8192).decode().splitlines() for _ in range(2)]
    heard.close()
    assert [entry[3:] for entry in entries] == [
        ["DS01_KIND=claim.granted", "DS01_USER=alice"],
        ["DS01_KIND=claim.released", "DS01_USER=alice"],
    ]
    assert json.loads(entries[0][0].removeprefix("MESSAGE=")) == json.loads(whole)


def test_a_full_journal_stops_nobody(tmp_path: Path) -> None:
    full = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    full.bind(str(tmp_path / "journal"))
    log = EventLog(str(tmp_path / "events.jsonl"), str(tmp_path / "journal"))
    for number in range(2000):
        log.append(Event("claim.granted", NOON + number, user="alice"))
    full.close()
    assert len(list(log.read(EventQuery()))) == 2000
    assert not journald.send({"MESSAGE": "x"}, str(tmp_path / "nowhere"))
