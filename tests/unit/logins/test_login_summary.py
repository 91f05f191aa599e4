# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Records added up: by example, in bounded memory, and as the daily program keeps and mails them."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from ds01_cli import logins_command
from ds01_cli.__main__ import main as ds01
from ds01_logins.__main__ import main
from ds01_logins.settings import Settings, SettingsError, load

from ds01.core.login_records import Kind, Record
from ds01.core.login_summary import MOST_NAMES, OTHERS, Summary, document, in_words, summarise
from ds01.login_history import history
from ds01.mail import MailError, MailSettings

T0 = 1_800_000_000.0
HOUR = 3600.0
NAMES = {"3101": "alice", "3102": "bob"}
RECORDS = [
    Record(Kind.LOGIN, T0 + 60, "alice", "10.1.2.3", "publickey"),
    Record(Kind.BEGAN, T0 + 61, "alice", "7"),
    Record(Kind.ENDED, T0 + 61 + HOUR, "alice", "7"),
    Record(Kind.ENDED, T0 + HOUR, "bob", "3"),
    Record(Kind.BEGAN, T0 + 23 * HOUR, "alice", "8"),
    Record(Kind.SWITCHED, T0 + 70, "3101"),
    Record(Kind.DENIED, T0 + 71, "3102"),
    Record(Kind.PROGRAM, T0 + 80, "3101", "/usr/bin/git"),
    Record(Kind.PROGRAM, T0 + 81, "3101", "/usr/bin/git"),
    Record(Kind.PROGRAM, T0 + 82, "3101", "/usr/bin/id", "other"),
    Record(Kind.PROGRAM, T0 + 83, "3999", "/bin/ls"),
    Record(Kind.REFUSED, T0 + 5, "root", "203.0.113.9", "40"),
    Record(Kind.REFUSED, T0 + 6, "root", "203.0.113.9", "40"),
    Record(Kind.REFUSED, T0 + 7, "admin", "203.0.113.9", "41"),
    Record(Kind.LOGIN, T0 - 1, "early", "10.0.0.1", "publickey"),
    Record(Kind.LOGIN, T0 + 24 * HOUR, "late", "10.0.0.1", "publickey"),
]


def day(only: str | None = None) -> Summary:
    return summarise(RECORDS, T0, T0 + 24 * HOUR, NAMES, only)


def test_a_day() -> None:
    summary = day()
    alice, bob = summary.people["alice"], summary.people["bob"]
    assert (alice.logins, alice.sessions, alice.switched, alice.denied) == (1, 2, 1, 0)
    assert alice.seconds == HOUR + HOUR, "a whole session, and one that goes on past midnight"
    assert bob.seconds == HOUR and bob.denied == 1, "a session from the day before counts from midnight"
    assert alice.programs == {"/usr/bin/git": 2} and alice.as_others == {"/usr/bin/id": 1}
    assert set(summary.people) == {"alice", "bob", "3999"}, "nobody from another day; a uid without a name is itself"
    assert summary.refused == {"203.0.113.9": 2} and summary.tried == {"root": 1, "admin": 1}, "a connection counts once"


def test_one_person_s_day_holds_nothing_of_others() -> None:
    summary = day("bob")
    assert set(summary.people) == {"bob"} and not summary.refused


def test_strangers_and_people_can_t_fill_the_memory() -> None:
    def flood() -> Iterator[Record]:
        for number in range(MOST_NAMES * 30):
            yield Record(Kind.REFUSED, T0, f"name{number}", f"10.{number}", str(number))
            yield Record(Kind.PROGRAM, T0, "3101", f"/home/alice/{number}")

    summary = summarise(flood(), T0, T0 + 1, NAMES)
    assert len(summary.refused) == len(summary.tried) == len(summary.people["alice"].programs) == MOST_NAMES + 1
    assert summary.refused[OTHERS] == MOST_NAMES * 29 and summary.refused.total() == MOST_NAMES * 30


def test_words_and_document_say_the_same_and_steer_no_terminal() -> None:
    summary = day()
    summary.tried["\x1b[2Jx\nFrom: y"] += 9
    summary.problems.append("started programs: /var/log/audit: No such file or directory")
    text = in_words(summary)
    assert "alice" in text and "/usr/bin/id" in text and "2 connections came to no login" in text and "Not complete: started" in text
    assert "\x1b" not in text and "\nFrom: y" not in text
    told = document(summary)
    assert json.loads(json.dumps(told)) == told
    assert told["people"]["alice"]["session_seconds"] == 7200 and told["since"] == "2027-01-15T08:00:00.000Z"
    assert "Nobody logged in." in in_words(Summary(T0, T0 + 1))


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A journal of two lines with rubbish between, and an audit log that was rotated."""
    message = "Accepted publickey for alice from 10.1.2.3 port 5 ssh2"
    accepted = {"__REALTIME_TIMESTAMP": str(int((T0 + 60) * 1e6)), "MESSAGE": message, "_UID": "0", "_COMM": "sshd"}
    lines = [json.dumps(accepted), "rubbish", "[1]", "[" * 5000, "x" * 70000]
    (tmp_path / "lines").write_text("\n".join(lines) + "\n")
    script = tmp_path / "journalctl"
    script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/lines\nexit $(cat {tmp_path}/code)\n')
    script.chmod(0o755)
    (tmp_path / "code").write_text("0")
    audit = tmp_path / "audit"
    audit.mkdir()
    line = 'type=SYSCALL msg=audit({}.000:1): success=yes auid={} uid=0 exe="/usr/bin/id" key="ds01_exec"\n'
    (audit / "audit.log").write_text(line.format(int(T0) + 2, 0))
    (audit / "audit.log.1").write_text(line.format(int(T0) + 1, 0) + "x" * 200_000 + "\n" + line.format(int(T0) - 5, 0))
    for path in audit.iterdir():
        os.utime(path, (T0 + 3, T0 + 3))
    return tmp_path


def test_history_reads_journal_and_audit_log(host: Path) -> None:
    summary = history(T0, T0 + 100, journalctl=str(host / "journalctl"), audit_logs=host / "audit")
    assert summary.problems == []
    assert summary.people["alice"].logins == 1 and summary.people["root"].programs.total() == 2
    asked = (host / "asked").read_text()
    assert f"--since=@{int(T0)}" in asked and "_UID=0 _COMM=sshd" in asked


def test_what_can_t_be_read_is_said_and_the_rest_is_shown(host: Path) -> None:
    (host / "code").write_text("1")
    summary = history(T0, T0 + 100, journalctl=str(host / "journalctl"), audit_logs=host / "nowhere")
    assert summary.people["alice"].logins == 1
    assert len(summary.problems) == 2 and "the journal: journalctl ended with 1" in summary.problems
    assert history(T0, T0 + 1, journalctl="/nowhere/journalctl", audit_logs=host / "audit").problems[0].startswith("the journal:")


def test_the_last_whole_day_is_kept_and_mailed_to_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[tuple[float, float]] = []
    posted: list[tuple[str, str]] = []

    def look(since: float, until: float) -> Summary:
        asked.append((since, until))
        return day()

    def mail(_: MailSettings, to: str, subject: str, text: str) -> None:
        posted.append((to, subject))
        if to.startswith("gone"):
            raise MailError("mail to gone@example.org: refused")

    settings = Settings(("gone@example.org", "admin@example.org"), MailSettings(sender="ds01@example.org"))
    options = {"kept": tmp_path, "now": lambda: T0 + 30 * HOUR, "look": look, "mail": mail}
    assert main([], settings=settings, **options) == 1, "a mail that was not taken is said"  # type: ignore[arg-type]
    midnight = T0 - T0 % 86400
    assert asked == [(midnight, midnight + 86400)]
    assert [to for to, _ in posted] == ["gone@example.org", "admin@example.org"] and posted[0][1].endswith("2027-01-15")
    kept = tmp_path / "2027-01-15.txt"
    assert kept.read_text() == in_words(day()) and stat.S_IMODE(kept.stat().st_mode) == 0o640
    assert json.loads((tmp_path / "2027-01-15.json").read_text()) == document(day())
    captured = capsys.readouterr()
    assert in_words(day()) in captured.out and "refused" in captured.err
    posted.clear()
    assert main([], settings=Settings(("admin@example.org",)), **options) == 0 and not posted  # type: ignore[arg-type]
    assert main(["--day", "tomorrow"], settings=settings, **options) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "[]", '{"mail_to": "x"}', '{"mail_to": ["nobody"]}', '{"mail_to": [], "relay": 1}'])
def test_settings_that_are_wrong_are_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "logins.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match="logins"):
        load(path)
    path.write_text('{"mail_to": ["a@b"], "sender": "c@d", "relay": ""}')
    assert load(path) == Settings(("a@b",), MailSettings(sender="c@d"))


def test_the_command_is_root_s_and_asks_for_a_span(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert ds01(["logins"]) == 1 and "administrators" in capsys.readouterr().err
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(logins_command, "history", lambda since, until, only: day(only))
    assert ds01(["logins", "--user", "bob", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["people"]) == ["bob"]
    assert ds01(["logins", "--since", "1h", "--until", "2h"]) == 1
