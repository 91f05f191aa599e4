# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Commands around lifecycle and notices: what they print, write and refuse."""

from __future__ import annotations

import json
import os
import pwd
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ds01_cli import __main__ as cli
from ds01_cli import administrator, broadcast_command, exempt_command, inbox_command, lifecycle_command, maintenance_command
from ds01_cli.failure import Failure
from ds01_cli.moments import ago, ahead, instant, length

from ds01 import inbox
from ds01.core.exemption_grants import Granted, from_dict, split, to_dict, with_grant
from ds01.core.lifecycle import Drain
from ds01.core.maintenance import Maintenance, drain_of, refuses
from ds01.core.maintenance import from_dict as maintenance_from_dict
from ds01.core.notices import Notice
from ds01.event_log import EventLog
from ds01.exemption_file import ExemptionFile
from ds01.maintenance_file import load, save

ME = pwd.getpwuid(os.getuid()).pw_name
NOW = 1792890000.0


@pytest.fixture(autouse=True)
def as_administrator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(administrator.os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "carol")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def parsed(*words: str) -> Any:
    return cli.parser(words[0]).parse_args(list(words))


def events(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]


def exempt(tmp_path: Path, *words: str) -> int:
    return exempt_command.run(parsed("exempt", *words), ExemptionFile(str(tmp_path / "e.json")), EventLog(str(tmp_path / "events.jsonl")))


def test_every_command_says_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    for name in ("lifecycle", "inbox", "greeting", "exempt", "maintenance", "broadcast", "top", "events", "workloads", "status", "quota"):
        assert name in text
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0


def test_an_exemption_is_given_listed_and_revoked_and_stands_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exempt(tmp_path, f"{ME}/train", "--from", "idle,runtime", "--for", "8h", "--reason", "thesis\x1b[2J deadline") == 0
    exempt(tmp_path, "--list")
    out = capsys.readouterr().out
    assert f"{ME}/train is exempt from idle and runtime until" in out
    assert "carol" in out and "\x1b" not in out
    exempt(tmp_path, f"{ME}/train", "--from", "idle", "--for", "1h", "--reason", "again")
    assert [one.rules for one in ExemptionFile(str(tmp_path / "e.json")).read()] == [("idle",)], "the newer one replaces the older"
    exempt(tmp_path, "--revoke", f"{ME}/train")
    made, _, ended = events(tmp_path)
    assert (made["kind"], made["container"], made["by"], made["details"]["from"]) == ("grant.made", "train", "carol", ["idle", "runtime"])
    assert (ended["kind"], ended["details"]["why"]) == ("grant.ended", "revoked")
    assert exempt(tmp_path, "--list") == 0
    assert "No exemption" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("nobody-of-that-name", "--from", "idle", "--for", "1h", "--reason", "x"), "doesn't know this name"),
        ((f"{ME}", "--from", "bare_metal", "--for", "1h", "--reason", "x"), "not what one can be let off"),
        ((f"{ME}", "--for", "1h", "--reason", "x"), "not what one can be let off"),
        ((f"{ME}", "--from", "idle", "--reason", "x"), "no end"),
        ((f"{ME}", "--from", "idle", "--for", "1h"), "no --reason"),
        ((f"{ME}", "--from", "idle", "--for", "soon", "--reason", "x"), "no duration"),
        ((f"{ME}", "--from", "idle", "--for", "0", "--reason", "x"), "no time at all"),
        ((f"{ME}", "--from", "idle", "--until", "2020-01-01", "--reason", "x"), "not after now"),
        ((f"{ME}", "--from", "idle", "--until", "31.12.", "--reason", "x"), "no time"),
        ((f"{ME}/", "--from", "idle", "--for", "1h", "--reason", "x"), "no container stands"),
        ((), "no USER"),
        (("--revoke", ME), "has no exemption"),
    ],
)
def test_an_exemption_that_is_not_right_is_refused_in_words(tmp_path: Path, words: tuple[str, ...], why: str) -> None:
    with pytest.raises(Failure, match=why):
        exempt(tmp_path, *words)
    assert not (tmp_path / "e.json").exists()


def test_only_root_gives_exemptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(administrator.os, "geteuid", lambda: 1000)
    with pytest.raises(Failure, match="for administrators"):
        exempt(tmp_path, ME, "--from", "idle", "--for", "1h", "--reason", "x")


def test_grants_are_read_back_end_on_time_and_damage_is_named() -> None:
    one = Granted("a", None, ("idle",), 10.0, "why", "root", 1.0)
    other = Granted("a", "train", ("runtime",), None, "why", "root", 1.0)
    assert from_dict(json.loads(json.dumps(to_dict((one, other))))) == (one, other)
    assert split((one, other), 9.999) == ((one, other), ())
    assert split((one, other), 10.0) == ((other,), (one,))
    assert with_grant((one, other), one) == (other, one)
    for key, value in (
        ("user", 3),
        ("rules", ["bare_metal"]),
        ("rules", []),
        ("until", "x"),
        ("until", True),
        ("container", 1),
        ("reason", ""),
    ):
        bad = to_dict((one,))
        bad["exemptions"][0][key] = value
        with pytest.raises(ValueError, match=rf"exemptions\[0\]\.{key}"):
            from_dict(bad)
    for bad in (None, [], {}, {"exemptions": {}}, {"exemptions": [1]}):
        with pytest.raises(ValueError, match="expected"):
            from_dict(bad)


def _maintain(*words: str, path: str, log: EventLog, told: list[str]) -> int:
    def tell(text: str, by: str, now: float) -> tuple[int, int]:
        told.append(text)
        return 1, 2

    return maintenance_command.run(parsed("maintenance", *words), path, log, tell)


def test_maintenance_refuses_starts_from_its_time_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, log, told = str(tmp_path / "m.json"), EventLog(str(tmp_path / "events.jsonl")), list[str]()
    maintain = partial(_maintain, path=path, log=log, told=told)
    maintain("status")
    assert capsys.readouterr().out == "No maintenance.\n"
    maintain("on", "--from", "2h", "--until", "4h", "--message", "driver update")
    state = load(path)
    assert state is not None
    assert refuses(state, time.time()) is None
    refusal = refuses(state, state.begins)
    assert refusal is not None and refusal.status == 503
    assert "driver update" in str(refusal) and "ds01 maintenance status" in str(refusal)
    assert refuses(state, (state.until or 0) + 1e6) is not None, "it ended without anybody's word"
    maintain("status")
    assert "from " in capsys.readouterr().out
    maintain("off")
    assert refuses(load(path), 1e12) is None
    assert [one["kind"] for one in events(tmp_path)] == ["maintenance.begun", "maintenance.ended"]
    assert len(told) == 2 and "driver update" in told[0] and "is over" in told[1]
    with pytest.raises(Failure, match="no --message"):
        maintain("on")
    with pytest.raises(Failure, match="before it begins"):
        maintain("on", "--from", "4h", "--until", "2h", "--message", "x")


def test_a_drain_is_announced_and_must_lie_between(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, log, told = str(tmp_path / "m.json"), EventLog(str(tmp_path / "events.jsonl")), list[str]()
    maintain = partial(_maintain, path=path, log=log, told=told)
    maintain("on", "--from", "2h", "--drain", "4h", "--message", "new kernel")
    state = load(path)
    assert state is not None and state.drain_by == pytest.approx(time.time() + 4 * 3600, abs=60)
    assert "what still runs is stopped at " in told[0] and "what still runs is stopped at " in capsys.readouterr().out
    assert events(tmp_path)[0]["details"]["drain"] == state.drain_by
    drain = drain_of(state, 1800.0, state.set_at, 1000.0)
    assert drain is not None and (drain.at, drain.lead) == (pytest.approx(1000.0 + 4 * 3600, abs=1), 1800.0)
    assert drain_of(None, 1800.0, NOW, 0.0) is None
    soon = drain_of(Maintenance(NOW, None, "m", "root", NOW, NOW + 300.0), 1800.0, NOW + 60.0, 60.0)
    assert soon == Drain(300.0, 300.0), "the lead is what lies between the command and its deadline, where that is less"
    for words in (("--from", "4h", "--drain", "2h"), ("--drain", "2020-01-01T00:00Z")):
        with pytest.raises(Failure, match="it would stop everything"):
            maintain("on", *words, "--message", "x")


def test_what_administrators_do_has_one_name_above_it(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("exempt", "maintenance", "broadcast", "top", "workloads", "events"):
        with pytest.raises(SystemExit) as ended:
            cli.main(["admin", name, "--help"])
        assert ended.value.code == 0
        assert f"ds01 admin {name}" in capsys.readouterr().out
    given = cli.parser("admin").parse_args(["admin", "exempt", "student1", "--from", "idle", "--for", "8h", "--reason", "r"])
    assert given.run is exempt_command.run and given.target == "student1"


def test_a_damaged_maintenance_file_is_named_and_can_be_ended(tmp_path: Path) -> None:
    path = str(tmp_path / "m.json")
    save(Maintenance(1.0, None, "m", "root", 1.0), path)
    document = json.loads(Path(path).read_text())
    for key, value in (("begins", None), ("message", 3), ("until", "x"), ("set_at", True)):
        with pytest.raises(ValueError, match=key):
            maintenance_from_dict({**document, key: value})
    Path(path).write_text("{")
    with pytest.raises(Failure, match="not JSON"):
        maintenance_command.run(parsed("maintenance", "status"), path)
    _maintain("off", path=path, log=EventLog(str(tmp_path / "events.jsonl")), told=[])
    assert load(path) is None


def test_the_inbox_shows_what_is_new_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        inbox.add(Notice(os.getuid(), ME, NOW + number, "warning", f"text {number}"), tmp_path)
    assert len(inbox_command.unread(tmp_path)) == 3
    inbox_command.run(parsed("inbox"), tmp_path)
    assert capsys.readouterr().out.count("* ") == 3
    assert inbox_command.unread(tmp_path) == ()
    inbox_command.run(parsed("inbox", "--new"), tmp_path)
    assert capsys.readouterr().out == "Nothing.\n"
    inbox_command.run(parsed("inbox", "--json"), tmp_path)
    assert [one["text"] for one in json.loads(capsys.readouterr().out)] == ["text 0", "text 1", "text 2"]


def test_a_broadcast_reaches_terminals_and_inboxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inbox.add(Notice(os.getuid(), ME, NOW, "info", "before"), tmp_path)
    log = EventLog(str(tmp_path / "events.jsonl"))
    broadcast_command.run(parsed("broadcast", "down", "at", "18:00\x1b[2J"), log, tmp_path, str(tmp_path / "pts"))
    assert "inboxes" in capsys.readouterr().out
    assert inbox.read(os.getuid(), tmp_path)[-1].text == "Message from carol: down at 18:00?[2J"
    assert events(tmp_path)[0]["details"]["text"] == "down at 18:00?[2J"


def test_what_lies_ahead_is_said_in_words() -> None:
    def ahead_of(**changes: Any) -> dict[str, Any]:
        idle = {"reason": "idle", "spent_s": 1320.0, "limit_s": 1800.0, "at": NOW + 480, "warned": True, "paused": False}
        base = {
            "id": "x",
            "container": "train",
            "user": "student1",
            "uid": 1000,
            "kind": "docker",
            "state": "running",
            "protected": False,
            "keep": False,
            "activity": "idle",
            "exempt": [],
            "time": NOW,
            "stopping": False,
            "prospects": [idle],
        }
        return {**base, **changes}

    text = lifecycle_command.render([ahead_of()], NOW)
    assert "student1/train" in text and "22m of 30m" in text and "stop at 01:08 UTC unless active (warned)" in text
    assert "no limit" in text
    assert "exempt" in lifecycle_command.render([ahead_of(prospects=[], exempt=["idle", "runtime"])], NOW)
    assert "nothing" in lifecycle_command.render([ahead_of(prospects=[])], NOW)
    assert "being stopped" in lifecycle_command.render([ahead_of(stopping=True)], NOW)
    assert "left alone" in lifecycle_command.render([ahead_of(protected=True, activity=None)], NOW)
    hold = {"reason": "stopped for long", "spent_s": 60.0, "limit_s": 3600.0, "at": NOW + 3540, "warned": False, "paused": False}
    assert "removed at 01:59 UTC" in lifecycle_command.render([ahead_of(state="exited", activity=None, prospects=[hold])], NOW)
    drain = {"reason": "maintenance", "spent_s": 0.0, "limit_s": 1800.0, "at": NOW + 480, "warned": True, "paused": False}
    assert "stop at 01:08 UTC for maintenance (warned)" in lifecycle_command.render([ahead_of(prospects=[drain])], NOW)
    assert "the sweeps do not run" in lifecycle_command.render([ahead_of()], NOW + 400)
    assert lifecycle_command.render([], NOW) == "No containers."


def test_a_dry_run_is_the_programs_own_for_root_and_the_published_one_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(lifecycle_command.os, "execv", lambda path, words: ran.append([path, *words]))
    monkeypatch.setattr(lifecycle_command.os, "getuid", lambda: 1000)
    lifecycle_command.run(parsed("lifecycle", "--dry-run"), tmp_path)
    assert ran == [] and capsys.readouterr().out == "No containers.\n"
    monkeypatch.setattr(lifecycle_command.os, "getuid", lambda: 0)
    lifecycle_command.run(parsed("lifecycle", "--dry-run", "--json"), tmp_path)
    assert ran == [[lifecycle_command.PROGRAM, lifecycle_command.PROGRAM, "--dry-run", "--json"]]
    monkeypatch.undo()
    monkeypatch.setattr(lifecycle_command.os, "getuid", lambda: 0)
    monkeypatch.setattr(lifecycle_command, "PROGRAM", str(tmp_path / "none"))
    with pytest.raises(Failure, match="No such file"):
        lifecycle_command.run(parsed("lifecycle", "--dry-run"), tmp_path)


def test_moments_as_people_type_them() -> None:
    assert ago("2h", "--since", NOW) == NOW - 7200
    assert ahead("1d", "--from", NOW) == NOW + 86400
    assert ahead("now", "--from", NOW) == NOW
    assert instant("2026-10-25T02:00+01:00", "x") == instant("2026-10-25T01:00Z", "x") == instant("2026-10-25 01:00", "x") == NOW
    assert length("90s", "x") == 90
    for wrong in ("", "x", "12", "5 m", "2026-13-01"):
        with pytest.raises(Failure, match="--since"):
            ago(wrong, "--since", NOW)
