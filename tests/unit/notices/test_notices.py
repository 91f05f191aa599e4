# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What people are told, once, in words that carry the numbers; and how it is brought to them when a way fails."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01 import inbox
from ds01.core.lifecycle_reason import Reason
from ds01.core.notices import Notice, QuotaUse, Whose, announcement, banner, crossings, near_quota, removed, stopped, warning, withdrawal
from ds01.core.plain_words import clock, plain, span
from ds01.mail import MailError, MailSettings, message, send
from ds01.notice_delivery import Ways, deliver

WHOSE = Whose(os.getuid(), "student1", "train", "ab" * 32)
AT = 1792890000.0  # 2026-10-25 01:00 UTC


def use(percent: float, name: str = "memory quota") -> QuotaUse:
    return QuotaUse(name, percent, 100.0, f"{percent:g} of 100")


@pytest.mark.parametrize(
    ("notice", "parts"),
    [
        (
            warning(WHOSE, Reason.IDLE, 900, 900, 1800, AT),
            ["idle for 15m (limit 30m)", "in 15m, at 2026-10-25 01:15 UTC", "unless it is used", ".keep-alive"],
        ),
        (
            warning(WHOSE, Reason.RUNTIME, 1800, 84600, 86400, AT),
            ["run for 23h 30m of 1d", "in 30m, at 2026-10-25 01:30 UTC", "Save your work"],
        ),
        (withdrawal(WHOSE, Reason.IDLE, AT), ["train will not be stopped", "in use again"]),
        (
            stopped(WHOSE, Reason.IDLE, 1860, 1800, AT),
            ["was stopped at 2026-10-25 01:00 UTC", "idle for 31m (limit 30m)", "docker start train"],
        ),
        (stopped(WHOSE, Reason.RUNTIME, 86400, 86400, AT), ["ran for 1d (limit 1d)", "docker cp"]),
        (removed(WHOSE, Reason.NEVER_STARTED, 1800, 1800, AT), ["was removed", "never started for 30m (limit 30m)"]),
        (near_quota(1, "a", use(85.0), AT), ["85 % of your memory quota: 85 of 100", "ds01 quota"]),
    ],
)
def test_every_notice_says_what_why_and_what_to_do(notice: Notice, parts: list[str]) -> None:
    for part in parts:
        assert part in notice.text
    assert notice.text.isprintable()


def test_a_file_in_the_container_is_for_what_is_said_while_it_runs() -> None:
    assert warning(WHOSE, Reason.IDLE, 1, 1, 1, AT).container_id == WHOSE.id
    assert stopped(WHOSE, Reason.IDLE, 1, 1, AT).container_id is None


@given(st.text(max_size=3000))
def test_nobodys_name_steers_a_terminal(text: str) -> None:
    for line in (
        plain(text),
        banner(announcement(1, "a", text, "root", AT)),
        warning(Whose(1, "a", text, "b"), Reason.IDLE, 1, 1, 1, AT).text,
    ):
        assert line.isprintable()
    assert len(plain(text)) <= 1000


def test_a_crossing_is_told_once_and_again_only_after_use_has_fallen_well_below() -> None:
    told: frozenset[str] = frozenset()
    said = []
    for percent in (50, 79.9, 80, 95, 79, 80, 71, 85, 69, 81, 100):
        told, fresh = crossings(told, [use(percent)], 80)
        said += [one.percent for one in fresh]
    assert said == [80, 81]


def test_what_is_not_known_now_is_not_forgotten_and_no_limit_is_never_near() -> None:
    told, _ = crossings((), [use(90)], 80)
    assert crossings(told, [], 80) == (told, ())
    assert crossings(told, [use(90)], 80) == (told, ())
    assert crossings((), [QuotaUse("x", 5, 0, "")], 80) == (frozenset(), ())


@given(st.lists(st.floats(0, 120), max_size=60), st.integers(1, 100))
def test_between_two_notices_of_a_quota_use_was_well_below(percents: list[float], mark: int) -> None:
    told: frozenset[str] = frozenset()
    lowest = 0.0
    for percent in percents:
        lowest = min(lowest, percent)
        told, fresh = crossings(told, [use(percent)], mark)
        if fresh:
            assert percent >= mark and (lowest < mark - 10 or lowest == 0.0)
            lowest = percent


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (-5, "0s"), (59.6, "1m"), (90, "1m 30s"), (86400, "1d"), (93784, "1d 2h"), (1e7, "115d 17h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_far_time_has_its_date() -> None:
    assert clock(AT + 3600, AT) == "02:00 UTC"
    assert clock(AT + 86400, AT) == "2026-10-26 01:00 UTC"


def test_the_inbox_is_the_readers_own_and_does_not_grow_for_ever(tmp_path: Path) -> None:
    for number in range(inbox.KEPT + 20):
        inbox.add(Notice(WHOSE.uid, "a", AT + number, "info", f"text {number}"), tmp_path)
    found = inbox.read(WHOSE.uid, tmp_path)
    assert len(found) == inbox.KEPT
    assert (found[0].text, found[-1].text) == ("text 20", f"text {inbox.KEPT + 19}")
    assert inbox.path_of(WHOSE.uid, tmp_path).stat().st_mode & 0o777 == 0o400


def test_what_the_reader_wrote_into_their_inbox_harms_nobody(tmp_path: Path) -> None:
    path = inbox.path_of(WHOSE.uid, tmp_path)
    path.write_bytes(b'{"at":1,"level":"info","text":"\\u001b[2Jx"}\n[[[[\n{"at":"x"}\n\xff\xfe\n{}\n' + b"[" * 100000 + b"\n")
    assert [one.text for one in inbox.read(WHOSE.uid, tmp_path)] == ["?[2Jx"]
    inbox.add(Notice(WHOSE.uid, "a", AT, "info", "good"), tmp_path)
    assert [json.loads(line)["text"] for line in path.read_text().splitlines()] == ["?[2Jx", "good"]


def test_a_planted_inbox_is_not_followed_nor_waited_for(tmp_path: Path) -> None:
    path = inbox.path_of(WHOSE.uid, tmp_path)
    (tmp_path / "secret").write_text('{"at":1,"level":"info","text":"secret"}')
    path.symlink_to(tmp_path / "secret")
    with pytest.raises(OSError):
        inbox.read(WHOSE.uid, tmp_path)
    path.unlink()
    os.mkfifo(path)
    assert inbox.read(WHOSE.uid, tmp_path) == ()


def test_a_way_that_fails_does_not_keep_a_notice_from_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notices = [warning(WHOSE, Reason.IDLE, 900, 900, 1800, AT)]
    (tmp_path / "inbox").mkdir()
    mail = MailSettings("ds01@x.example", "", "x.example", sendmail="/bin/false")
    ways = Ways(tmp_path / "inbox", str(tmp_path / "no pts"), str(tmp_path / "no proc"), mail)
    deliver(notices, ("terminal", "container", "mail"), {WHOSE.id: 1}, ways)
    assert len(inbox.read(WHOSE.uid, tmp_path / "inbox")) == 1
    assert "/dev/shm/ds01-notice" in caplog.text
    assert "/bin/false ended with 1" in caplog.text
    deliver(notices, (), {}, Ways(tmp_path / "no inbox"))
    assert "inbox" in caplog.text


def test_mail_goes_to_a_known_address_only_and_says_what_it_is(tmp_path: Path) -> None:
    taker = tmp_path / "sendmail"
    taker.write_text(f"#!{sys.executable}\nimport sys\nopen({str(tmp_path / 'sent')!r}, 'ab').write(sys.stdin.buffer.read())\n")
    taker.chmod(0o755)
    settings = MailSettings("ds01@gpu1.example", "", "example.org", {"guest": "guest@elsewhere.example", "odd": "a b@c\n"}, str(taker))
    assert settings.address("248835@lab.example") == "248835@example.org"
    assert settings.address("guest") == "guest@elsewhere.example"
    assert settings.address("odd") is None
    assert MailSettings("a@b").address("x") is None
    send(settings, "guest@elsewhere.example", "ds01: train", "will be stopped")
    sent = (tmp_path / "sent").read_text()
    assert "Subject: ds01: train" in sent and "Auto-Submitted: auto-generated" in sent and "will be stopped" in sent
    with pytest.raises(MailError):
        send(settings, "guest@elsewhere.example", "two\nlines", "x")
    with pytest.raises(MailError, match="is not there"):
        send(MailSettings("a@b", sendmail="/nowhere"), "c@d", "s", "t")
    assert message(settings, "c@d", "s", "t")["From"] == "ds01@gpu1.example"
