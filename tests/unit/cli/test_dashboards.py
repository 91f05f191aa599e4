# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 top``, ``workloads``, ``events`` and ``greeting``: what an administrator, and a person at login, sees."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import resource
import select
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from ds01_cli import __main__ as cli
from ds01_cli import events_command, top_command, workloads_command
from ds01_cli.events_command import follow
from ds01_cli.failure import Failure
from ds01_cli.inventory_source import read_inventory
from ds01_cli.queue_source import read_queue
from ds01_cli.top_screen import render

from ds01 import queue_file
from ds01.core.claim import ClaimedDevice
from ds01.core.event import Event
from ds01.core.event_query import EventQuery
from ds01.core.gpu_queue import Hold, Waiter
from ds01.core.queue_state import QueueState
from ds01.event_log import EventLog

ROOT = Path(__file__).resolve().parents[3]
NOW = 1792890000.0
GIB = 2**30


def gpu(index: int, **changes: Any) -> dict[str, Any]:
    base = {
        "uuid": f"GPU-{index}",
        "index": index,
        "model": "NVIDIA A100-SXM4-80GB",
        "mig": False,
        "healthy": True,
        "answers": True,
        "busy_percent": 82.4,
        "utilisation": 90.0,
        "memory_used": 41 * GIB,
        "memory_total": 80 * GIB,
        "power": 312.0,
        "temperature": 64.0,
    }
    return {**base, **changes}


def workload(user: str | None, name: str, **changes: Any) -> dict[str, Any]:
    base = {
        "kind": "managed",
        "origin": "docker",
        "tracked": True,
        "user": user,
        "uid": 1000,
        "attributed_by": "slice",
        "container_id": "ab" * 32,
        "name": name,
        "image": "pytorch:2",
        "running": True,
        "claim": "c0",
        "every_gpu": False,
        "privileged": False,
        "gpus": [{"uuid": "GPU-0", "index": 0, "profile": None}],
        "gpu_memory": 10 * GIB,
        "processes": [{"pid": 1}],
        "since": NOW - 7300,
    }
    return {**base, **changes}


def document() -> dict[str, Any]:
    half = {"uuid": "GPU-1", "index": 1, "profile": "3g.40gb"}
    return {
        "v": 1,
        "time": NOW,
        "uptime": 5.0,
        "simulated": True,
        "sources": {"docker": {"ok": True, "error": None}, "gpu": {"ok": True, "error": None}},
        "gpus": [
            gpu(0),
            gpu(1, mig=True, busy_percent=None, memory_used=3 * GIB, temperature=31.0, power=60.0),
            gpu(2, answers=False, busy_percent=None, memory_used=None, memory_total=None, power=None, temperature=None),
        ],
        "workloads": [
            workload("student1", "train"),
            workload("h.baker@hertie-school.example", "a-container-with-a-very-long-name-indeed", gpus=[half], gpu_memory=None),
            workload(None, "evil\x1b[2J", kind="raw", tracked=False, every_gpu=True, since=None, processes=[]),
            workload("student2", "old", running=False, gpu_memory=0),
        ],
    }


def test_the_live_picture_fits_eighty_columns_and_hides_nothing() -> None:
    text = render(document(), NOW)
    assert max(map(len, text.splitlines())) <= 80
    for part in (
        "student1",
        "82 %",
        "41G/80G",
        "312W",
        "does not answer",
        "not told in MIG mode",
        "3g.40gb",
        "unattributed",
        "all",
        "simulated",
        "stopped",
    ):
        assert part in text, part
    assert "\x1b" not in text
    short = render(document(), NOW, 12)
    assert len(short.splitlines()) == 12 and "more lines" in short


def test_who_waits_is_in_the_picture(tmp_path: Path) -> None:
    def entry(user: str, position: int, **changes: Any) -> dict[str, Any]:
        base = {"user": user, "request": "2g.20gb", "joined_at": NOW - 700, "position": position, "expected_at": None, "offer": None}
        return {**base, "container_id": None, **changes}

    kept = entry("student1", 0, offer={"devices": [], "until": NOW + 300})
    waiting = [entry(f"h.somebody.with.a.long.name{n}@hertie-school.example", n) for n in range(1, 9)]
    text = render(document(), NOW, queue={"waiting": 9, "entries": [kept, *waiting]})
    assert max(map(len, text.splitlines())) <= 80
    for part in ("9 waiting", "kept 5m", "11m 40s", "  now student1", "and 4 more"):
        assert part in text, part
    assert "not known" in render(document(), NOW, queue=None)
    path = tmp_path / "queue.json"
    waiter = Waiter("q1", 1000, "student1", "count=2", NOW - 60)
    hold = Hold((ClaimedDevice("GPU-0", "GPU-0", 0, Fraction(1), 1000),), NOW, NOW + 60)
    queue_file.save(QueueState((waiter, Waiter("q2", 1001, "student2", "count=1", NOW - 90, None, hold))), str(path))
    found = read_queue(str(path))
    assert found is not None
    assert [(one["user"], one["position"]) for one in found["entries"]] == [("student2", 0), ("student1", 1)]
    path.write_text("{")
    assert read_queue(str(path)) is None


def test_old_news_and_silent_sources_are_said() -> None:
    silent = document()
    silent["sources"]["gpu"] = {"ok": False, "error": "no driver"}
    text = render(silent, NOW + 120)
    assert "120 s old" in text and "gpu does not answer: no driver" in text


def test_nothing_at_all_is_drawn_too() -> None:
    empty = {**document(), "gpus": [], "workloads": [], "simulated": False}
    assert "0 GPUs, 0 workloads, 0 people" in render(empty, NOW)
    assert workloads_command.render(empty, NOW) == "No workload uses or may use a GPU."


def test_workloads_as_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "i.json")
    Path(path).write_text(json.dumps(document()))
    plain = workloads_command.render(document(), NOW)
    assert "student1" in plain and "2h 1m" in plain and "1 (3g.40gb)" in plain and "\x1b" not in plain
    assert "pytorch:2" in workloads_command.render(document(), NOW, wide=True)
    people = workloads_command.render(document(), NOW, by_user=True)
    assert people.splitlines()[-1].startswith("unattributed") and "OUTSIDE" in people
    assert workloads_command.run(cli.parser("workloads").parse_args(["workloads", "--json"]), path) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.pop("age_s") > 0, "its age is by the time since boot, not by the clock"
    assert printed == document()
    assert top_command.run(cli.parser("top").parse_args(["top", "--once"]), path) == 0
    assert "A100" in capsys.readouterr().out


def test_a_missing_or_damaged_inventory_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="published nothing"):
        read_inventory(str(tmp_path / "none"))
    (tmp_path / "bad").write_text("{")
    with pytest.raises(Failure, match="not JSON"):
        read_inventory(str(tmp_path / "bad"))


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    found = EventLog(str(tmp_path / "events.jsonl"))
    found.append(Event("container.start", NOW - 7200, "student1", 1000, "train", "ab" * 32, by="dockerd"))
    found.append(Event("claim.granted", NOW - 3600, "student1", 1000, "=cmd()", gpus=("GPU-0",), details={"why": "free"}))
    found.append(Event("lifecycle.stopped", NOW, "student2", 1001, "evil\x1b[2J", details={"why": "idle", "after_s": 1800}))
    return found


def shown(log: EventLog, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    events_command.run(cli.parser("events").parse_args(["events", *words]), log.path)
    return capsys.readouterr().out


def test_events_by_every_question(log: EventLog, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(shown(log, capsys).splitlines()) == 4
    assert "claim.granted" in shown(log, capsys, "--kind", "claim.*")
    assert "train" in shown(log, capsys, "--user", "student1", "--last", "5")
    assert "claim.granted" in shown(log, capsys, "--gpu", "GPU-0")
    assert shown(log, capsys, "--container", "ab" * 32).count("container.start") == 1
    between = shown(log, capsys, "--since", "2026-10-24T23:30Z", "--until", "2026-10-25T00:30Z")
    assert "claim.granted" in between and "container.start" not in between
    assert "No such events" in shown(log, capsys, "--user", "nobody")
    assert len(shown(log, capsys, "--last", "1").splitlines()) == 2
    assert "lifecycle.stopped" in shown(log, capsys, "--kind", "help")
    assert "\x1b" not in shown(log, capsys)


def test_events_for_programs_and_spreadsheets(log: EventLog, capsys: pytest.CaptureFixture[str]) -> None:
    records = [json.loads(line) for line in shown(log, capsys, "--json").splitlines()]
    assert [one["kind"] for one in records] == ["container.start", "claim.granted", "lifecycle.stopped"]
    rows = list(csv.DictReader(io.StringIO(shown(log, capsys, "--csv"))))
    assert rows[1]["container"] == "'=cmd()", "a spreadsheet would run it"
    assert json.loads(rows[2]["details"])["after_s"] == 1800


def test_a_question_that_is_none_is_refused(log: EventLog, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for words in (("--kind", "no.such"), ("--kind", "x.*"), ("--since", "yesterday")):
        with pytest.raises(Failure):
            shown(log, capsys, *words)


def test_following_goes_on_over_a_rotation_and_misses_nothing(log: EventLog) -> None:
    ended, found = threading.Event(), []
    reading = threading.Event()

    def read() -> None:
        reading.set()
        for record in follow(log.path, EventQuery(), ended):
            found.append(record["container"])
            if found[-1] == "n59":
                return

    thread = threading.Thread(target=read)
    thread.start()
    reading.wait(5)
    deadline = time.monotonic() + 10
    while not found and time.monotonic() < deadline:  # until it reads, the first may be written before it has begun
        log.append(Event("container.start", NOW, container="begin"))
        threading.Event().wait(0.05)
    assert found
    for number in range(60):
        if number in (20, 40):
            os.rename(log.path, f"{log.path}.{number}")
        log.append(Event("container.start", NOW, container=f"n{number}"))
        if number in (20, 40):
            threading.Event().wait(0.6)
    thread.join(15)
    ended.set()
    thread.join(5)
    kept = [name for name in found if name != "begin"]
    assert kept == [f"n{number}" for number in range(60)]


class _Gate(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    silent = False


class _Handler(socketserver.StreamRequestHandler):
    server: _Gate

    def handle(self) -> None:
        while self.rfile.readline().strip():
            continue
        if self.server.silent:
            threading.Event().wait(5)
            return
        usage = {
            "user": "student1",
            "gpu_equivalents": {"used": 0.43, "limit": 1.0},
            "containers": {"used": 3, "limit": 3},
            "memory": {"used": 12 * GIB, "limit": 64 * GIB},
        }
        data = json.dumps(usage).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[_Gate]:
    server = _Gate(str(tmp_path / "gate.sock"), _Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def greet(path: str) -> tuple[str, int]:
    """What ``ds01 greeting`` prints on a terminal, and its exit code."""
    paths = f"{ROOT}/.cache/lib", f"{ROOT}/files"
    start = (
        f"import runpy,sys; sys.path[:0]={list(paths)!r}; sys.argv=['ds01','greeting']; runpy.run_module('ds01_cli',run_name='__main__')"
    )
    master, slave = pty.openpty()
    environment = {"PATH": "/usr/bin", "DS01_GATE_SOCKET": path, "HOME": "/nonexistent", "TERM": "dumb"}
    process = subprocess.Popen([sys.executable, "-I", "-c", start], stdin=slave, stdout=slave, stderr=subprocess.STDOUT, env=environment)
    os.close(slave)
    text = b""
    while select.select([master], [], [], 20)[0]:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        if not piece:
            break
        text += piece
    os.close(master)
    return text.decode(), process.wait(20)


def children_cpu_seconds() -> float:
    """CPU time of the programs that this process started and that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def test_the_greeting_says_quota_and_costs_little(gate: _Gate) -> None:
    bare, costs = [], []
    for _ in range(5):
        start = children_cpu_seconds()
        subprocess.run([sys.executable, "-I", "-c", "import argparse, json"], check=True)
        middle = children_cpu_seconds()
        text, code = greet(str(gate.server_address))
        bare.append(middle - start)
        costs.append(children_cpu_seconds() - middle)
    assert code == 0
    assert "Welcome, student1." in text and "GPU 0.43 of 1" in text and "containers 3 of 3" in text and "memory 12G of 64G" in text
    # In starts of a Python that only reads arguments and JSON: seconds would say how fast and how busy this machine is.
    assert min(costs) < 5 * min(bare), (costs, bare)


def test_a_gate_that_is_gone_or_silent_neither_breaks_nor_delays_a_login(gate: _Gate, tmp_path: Path) -> None:
    text, code = greet(str(tmp_path / "none.sock"))
    assert code == 0 and "left out" in text and "ds01 usage" in text and "Traceback" not in text
    gate.silent = True
    before = time.monotonic()
    text, code = greet(str(gate.server_address))
    assert code == 0 and "left out" in text
    assert time.monotonic() - before < 5


def test_without_a_terminal_there_is_no_greeting(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["greeting"]) == 0
    assert capsys.readouterr().out == ""
