# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""GPU-hours of a week and a month: from Prometheus, from the event log without it, and each person's to that person alone."""

from __future__ import annotations

import http.server
import json
import os
import pwd
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ds01_cli import __main__ as cli
from ds01_cli import usage_command
from ds01_lifecycle import usage_publish

from ds01.core.disk_plan import DiskUse
from ds01.core.event import Event
from ds01.core.usage_report import Hours, begins
from ds01.event_log import EventLog
from ds01.prometheus_query import PrometheusUnavailable, by_label

ME = pwd.getpwuid(os.getuid()).pw_name
NOW = datetime(2026, 10, 29, 12, tzinfo=timezone.utc).timestamp()  # a Thursday, after the clocks of Europe went back


def silent(query: str, label: str) -> dict[str, float]:
    raise PrometheusUnavailable("connection refused")


def test_a_week_begins_on_monday_and_a_month_on_its_first() -> None:
    assert begins(NOW) == {
        "week": datetime(2026, 10, 26, tzinfo=timezone.utc).timestamp(),
        "month": datetime(2026, 10, 1, tzinfo=timezone.utc).timestamp(),
    }
    monday = datetime(2026, 11, 30, 0, 0, 1, tzinfo=timezone.utc).timestamp()
    assert begins(monday)["week"] == monday - 1


def test_efficiency_is_of_what_is_measurable_and_few_people_have_no_median() -> None:
    hours = Hours({"a": 9.0, "b": 2.0}, {"a": 3.0}, {"a": 4.0, "b": 0.01})
    assert (hours.efficiency("a"), hours.efficiency("b"), hours.efficiency("c")) == (0.75, None, None)
    assert hours.median() is None
    measurable = dict.fromkeys("abc", 10.0)
    assert Hours(measurable, {"a": 1.0, "b": 5.0, "c": 9.0}, measurable).median() == 0.5
    assert Hours({}, {"a": 11.0}, {"a": 10.0}).efficiency("a") == 1.0


def test_everybody_gets_their_own_from_prometheus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def ask(query: str, label: str) -> dict[str, float]:
        asked.append(query)
        base = 10.0 if "302400s" not in query and "345600" not in query else 4.0
        share = 1.0 if "allocated" in query or "measurable" in query else 0.4
        return dict.fromkeys((ME, "x-nobody", "y-nobody", "z-nobody"), base * share)

    assert usage_publish.run(tmp_path, None, ask, NOW) == 0
    assert len(asked) == 6 and "[302400s]" in asked[0], "three and a half days since Monday"
    own = json.loads((tmp_path / f"{os.getuid()}.json").read_text())
    assert own["user"] == ME and own["spans"]["week"] == {"hours": 4.0, "efficiency": 0.4}
    assert (tmp_path / f"{os.getuid()}.json").stat().st_mode & 0o777 == 0o400
    assert ME not in (tmp_path / "lab.json").read_text(), "what everybody reads names somebody"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"{os.getuid()}.json", "lab.json"])
    found = usage_command.read_hours(os.getuid(), tmp_path)
    assert found is not None
    text = usage_command.render_hours(found, NOW)
    assert "4.0 h" in text and "10.0 h" in text and text.count("40 %") == 4
    assert "old: systemctl status ds01-usage.timer" in usage_command.render_hours(found, NOW + 9000)
    other = usage_command.read_hours(54321, tmp_path)
    assert other is not None and other["spans"]["week"]["hours"] == 0.0


def claim(kind: str, at: float, user: str, **details: Any) -> Event:
    told = {"claim": "c0123456789ab", "devices": ["GPU-1"], "equivalents": ["1"], "granted_at": None, **details}
    return Event(kind, at, user, 1000, "train", "ab" * 32, gpus=("GPU-1",), by="ds01-gate", details=told)


def test_without_prometheus_the_event_log_tells_the_hours_and_nothing_of_their_use(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path / "events.jsonl"))
    begin = NOW - 5 * 86400  # on Saturday: two hours of last week, of this month
    for event in (claim("claim.granted", begin, ME), claim("claim.released", begin + 7200, ME)):
        log.append(event)
    log.append(claim("claim.granted", NOW - 3600, ME, claim="c2"))
    os.utime(log.path, (NOW, NOW))
    out = tmp_path / "usage"
    usage_publish.run(out, log, silent, NOW)
    own = json.loads((out / f"{os.getuid()}.json").read_text())["spans"]
    assert own == {"week": {"hours": 1.0, "efficiency": None}, "month": {"hours": 3.0, "efficiency": None}}
    found = usage_command.read_hours(os.getuid(), out)
    assert found is not None and found["source"] == "events"
    assert "median" not in usage_command.render_hours(found, NOW)


def test_a_prometheus_that_has_recorded_nothing_is_no_source(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path / "events.jsonl"))
    usage_publish.run(tmp_path / "u", log, lambda query, label: {}, NOW)
    assert json.loads((tmp_path / "u/lab.json").read_text())["source"] == "events"


def test_usage_shows_limits_disk_and_hours_and_carries_all_in_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use = {"used": 1, "limit": 2}
    gate = dict.fromkeys(("gpu_equivalents", "containers", "memory", "tasks"), use) | {"claims": []}
    monkeypatch.setattr(usage_command, "ask", lambda route: dict(gate))
    monkeypatch.setattr(usage_command.disk_quota, "usage", lambda uid: DiskUse(85 * 2**30, 100 * 2**30, "/home"))
    usage_publish.publish({"week": Hours({ME: 2.0}), "month": Hours({ME: 3.0})}, NOW, "prometheus", tmp_path, lambda name: os.getuid())
    usage_command.run(cli.parser("quota").parse_args(["quota"]), tmp_path)
    text = capsys.readouterr().out
    assert "disk" in text and "85G" in text and "100G" in text and "2.0 h" in text and "THIS WEEK" in text
    usage_command.run(cli.parser("usage").parse_args(["usage", "--json"]), tmp_path)
    found = json.loads(capsys.readouterr().out)
    assert found["disk"] == {"used": 85 * 2**30, "limit": 100 * 2**30, "directory": "/home"}
    assert found["gpu_hours"]["spans"]["month"]["hours"] == 3.0 and found["containers"] == use
    monkeypatch.setattr(usage_command.disk_quota, "usage", lambda uid: None)
    usage_command.run(cli.parser("quota").parse_args(["quota"]), tmp_path / "nothing")
    text = capsys.readouterr().out
    assert "disk" not in text and "GPU-HOURS" not in text


def test_damaged_or_missing_files_are_not_known(tmp_path: Path) -> None:
    assert usage_command.read_hours(5, tmp_path) is None
    for text in ("{", "[]", "{}", '{"spans": 3, "time": 1, "source": "x"}'):
        (tmp_path / "lab.json").write_text(text)
        assert usage_command.read_hours(5, tmp_path) is None


class _Answers(http.server.BaseHTTPRequestHandler):
    body = b""
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: Any) -> None:
        return


@contextmanager
def prometheus(body: object, status: int = 200) -> Iterator[str]:
    handler = type("Handler", (_Answers,), {"body": body if isinstance(body, bytes) else json.dumps(body).encode(), "status": status})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_prometheus_is_asked_past_any_proxy_and_what_is_no_number_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    values = [({"user": "a"}, "1.5"), ({"user": "b"}, "NaN"), ({}, "3")]
    result = [{"metric": metric, "value": [NOW, value]} for metric, value in values]
    with prometheus({"status": "success", "data": {"result": result}}) as base:
        assert by_label("x", "user", base) == {"a": 1.5}


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<html>", 200), ({"status": "error"}, 200), ({"status": "success"}, 200), ([], 200), (b"{}", 500), (b"[" * 100000, 200)],
)
def test_an_odd_answer_is_no_answer(body: object, status: int) -> None:
    with prometheus(body, status) as base, pytest.raises(PrometheusUnavailable):
        by_label("x", "user", base)
    with pytest.raises(PrometheusUnavailable):
        by_label("x", "user", "http://127.0.0.1:1")
