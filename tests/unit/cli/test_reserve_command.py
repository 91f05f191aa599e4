# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 reserve``: what it keeps, that the allocator honours it, and what it refuses, with the numbers and a way on."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from ds01_cli import __main__ as cli
from ds01_cli import administrator, reserve_command
from ds01_cli.failure import Failure
from hypothesis import given
from hypothesis import strategies as st

from ds01.allocator import AllocationPaths, Allocator
from ds01.core.chooser import choose
from ds01.core.refusal import Refusal
from ds01.core.request_text import parse_request_text
from ds01.core.reservation import Reservation
from ds01.core.reservation_request import NoSuchReservation, Wanted, devices_for
from ds01.event_log import EventLog
from ds01.policy_file import PolicyFile
from ds01.reservation_file import load
from ds01.slice_control import NoSlices
from tests.allocation_examples import ALL_BALANCED, SEVEN, inventory, limits, mig_gpu, publish, uuid, whole_gpu

ME = pwd.getpwuid(os.getuid()).pw_name
NOW = 1_800_000_000.0
HOUR = 3600.0
STOCK = inventory(whole_gpu(0), mig_gpu(1, ALL_BALANCED), mig_gpu(2, SEVEN))


class Host:
    def __init__(self, root: Path) -> None:
        self.root = root
        publish(root, STOCK)
        (root / "policy.json").write_text(json.dumps({"version": 1, "default_group": "students", "groups": {"students": {}, "staff": {}}}))
        self.paths = AllocationPaths(
            root / "cdi", root / "claims.lock", root / "devices.json", root / "cdi-base.json", root / "reservations.json"
        )
        self.log = EventLog(str(root / "events.jsonl"))

    def reserve(self, *words: str, now: float = NOW) -> int:
        parsed = cli.parser("reserve").parse_args(["reserve", *words])
        return reserve_command.run(parsed, self.paths, self.log, PolicyFile(str(self.root / "policy.json")), now)

    def add(self, name: str, *words: str, **options: Any) -> int:
        return self.reserve("add", name, "--reason", "exam", *words, **options)

    @property
    def kept(self) -> list[Reservation]:
        return list(load(self.paths.reservations))

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.root / "events.jsonl").read_text().splitlines()]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(administrator.os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "carol")
    return Host(tmp_path)


def test_a_gpu_for_a_group_is_kept_logged_and_honoured_by_the_allocator(host: Host) -> None:
    assert host.add("exam", "--gpu", "0", "--group", "staff", "--from", "2h", "--for", "4h") == 0
    [kept] = host.kept
    assert (kept.devices, kept.groups, kept.start, kept.end) == (
        frozenset({uuid("GPU", 0)}),
        frozenset({"staff"}),
        NOW + 2 * HOUR,
        NOW + 6 * HOUR,
    )
    [event] = host.events()
    assert (event["kind"], event["by"], event["details"]["name"]) == ("reservation.made", "carol", "exam")
    held = Allocator(host.paths, NoSlices(), clock=lambda: NOW + 3 * HOUR)
    full = parse_request_text("full")
    with pytest.raises(Refusal, match="reserved for others"):
        held.grant("c0123456789ab", limits(full_gpu=True), 1, full, "f" * 64, "x")
    early = Allocator(host.paths, NoSlices(), clock=lambda: NOW)
    with pytest.raises(Refusal, match="reserved for others"):
        early.grant("c0123456789ab", limits(full_gpu=True, runtime=3 * 3600), 1, full, "f" * 64, "x")
    assert early.grant("c0123456789ab", limits(group="staff", full_gpu=True), 1, full, "f" * 64, "x").devices[0].gpu_uuid == uuid("GPU", 0)


def test_instances_of_a_profile_are_picked_from_those_that_are_not_reserved(host: Host) -> None:
    span = ("--user", ME, "--from", "now", "--for", "1d")
    host.add("one", "--profile", "1g", "--count", "3", *span)
    host.add("two", "--profile", "1g.5gb", "--count", "6", "--gpu", "1", "--gpu", "2", *span)
    one, two = (r.devices for r in host.kept)
    assert len(one) == 3 and len(two) == 6 and not one & two
    with pytest.raises(Failure, match=r"1 of profile 1g are asked for, there are 9, 9 of them reserved in that time"):
        host.add("three", "--profile", "1g", *span)
    assert host.add("later", "--profile", "1g", "--user", ME, "--from", "25h", "--for", "1h") == 0


@pytest.mark.parametrize(
    ("words", "says", "next_step"),
    [
        (("--gpu", "7", "--for", "1h"), r"GPU 7: there is no such GPU on this host; there are: 0 \(GPU-", "ds01 status"),
        (("--gpu", "1", "--gpu", uuid("GPU", 1), "--for", "1h"), "named twice", "once"),
        (("--for", "1h"), "no device is named", "--profile"),
        (("--gpu", "0", "--until", "2027-01-01T00:00Z"), "which is not after its start", "--until"),
        (("--gpu", "0", "--from", "2026-12-01T00:00Z", "--until", "2026-12-02T00:00Z"), "it would have ended at .* ago", "--until"),
        (("--gpu", "0", "--until", "soon"), "this is no time", "ISO 8601"),
        (("--gpu", "0", "--for", "never"), "this is no duration", "expected"),
        (("--profile", "9g", "--for", "1h"), "1 of profile 9g are asked for, there are 0; profiles here: 1g.5gb", "ds01 reserve list"),
        (("--profile", "1g", "--count", "0", "--for", "1h"), "--count is 0", "1 to 64"),
    ],
)
def test_what_can_t_be_kept_is_refused_and_nothing_is_written(host: Host, words: tuple[str, ...], says: str, next_step: str) -> None:
    with pytest.raises(Failure, match=says) as refused:
        host.add("exam", "--group", "staff", *words)
    assert next_step in refused.value.next_step
    assert not host.paths.reservations.exists() and not (host.root / "events.jsonl").exists()


def test_people_and_groups_have_to_be_there(host: Host) -> None:
    with pytest.raises(Failure, match="the policy has no group stuff; it has: students, staff"):
        host.add("x", "--gpu", "0", "--group", "stuff", "--for", "1h")
    with pytest.raises(Failure, match=r"no.such.person"):
        host.add("x", "--gpu", "0", "--user", "no.such.person", "--for", "1h")
    with pytest.raises(Failure, match="nobody is named"):
        host.add("x", "--gpu", "0", "--for", "1h")


def test_names_are_unique_and_tame(host: Host) -> None:
    assert host.add("exam", "--gpu", "0", "--group", "staff", "--for", "1h") == 0
    with pytest.raises(Failure, match="one of that name"):
        host.add("exam", "--gpu", "1", "--group", "staff", "--for", "1h")
    for name in ("../etc", "a b", "x\x1b[2J", ""):
        with pytest.raises(Failure, match="its name is none") as refused:
            host.add(name, "--gpu", "1", "--group", "staff", "--for", "1h")
        assert "\x1b" not in refused.value.why


def test_two_for_one_device_at_one_time_are_refused_and_one_after_the_other_is_fine(host: Host) -> None:
    host.add("exam", "--gpu", "1", "--group", "staff", "--from", "1h", "--for", "2h")
    with pytest.raises(Failure, match=r"GPU 1 is reserved from .* as exam for staff") as refused:
        host.add("other", "--gpu", "1", "--user", ME, "--from", "2h", "--for", "2h")
    assert "ds01 reserve remove exam" in refused.value.next_step
    with pytest.raises(Failure, match="1 of profile 3g are asked for, there are 1, 1 of them reserved in that time"):
        host.add("part", "--profile", "3g", "--gpu", "1", "--user", ME, "--from", "2h", "--for", "2h")
    assert host.add("next", "--gpu", "1", "--user", ME, "--from", "3h", "--for", "2h") == 0


def test_list_and_remove(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.add("exam", "--gpu", "0", "--group", "staff", "--from", "1h", "--for", "2h")
    host.add("now", "--profile", "3g", "--user", ME, "--for", "1h", "--json")
    capsys.readouterr()
    assert host.reserve("list") == 0
    shown = capsys.readouterr().out
    assert "GPU 0" in shown and "GPU 1 3g.20gb at 4" in shown and "to come" in shown and "in force" in shown
    assert host.reserve("list", "--json", now=NOW + 90 * 60) == 0
    assert [r["id"] for r in json.loads(capsys.readouterr().out)] == ["exam"]
    assert host.reserve("list", "--all", now=NOW + 90 * 60) == 0 and "over" in capsys.readouterr().out
    assert host.reserve("remove", "exam") == 0 and [r.id for r in host.kept] == ["now"]
    assert host.events()[-1]["kind"] == "reservation.ended"
    with pytest.raises(Failure, match="there is none of that name; there are: now"):
        host.reserve("remove", "exam")


def test_who_holds_the_device_is_told(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    allocator = Allocator(host.paths, NoSlices(), clock=lambda: NOW)
    allocator.grant("c0123456789ab", limits(full_gpu=True), 1, parse_request_text("full"), "f" * 64, "train")
    host.add("exam", "--gpu", "0", "--group", "staff", "--for", "1h")
    assert "Held now by student (train), which has no end and is not stopped for it." in capsys.readouterr().out


def test_a_damaged_file_is_said_and_not_overwritten(host: Host) -> None:
    host.paths.reservations.write_text("{")
    with pytest.raises(Failure, match="reservations can't be read or kept"):
        host.add("exam", "--gpu", "0", "--group", "staff", "--for", "1h")
    assert host.paths.reservations.read_text() == "{"


def test_it_is_for_administrators(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(administrator.os, "geteuid", lambda: 1000)
    for words in (("list",), ("remove", "exam"), ("add", "x", "--for", "1h", "--reason", "y")):
        with pytest.raises(Failure, match="for administrators"):
            host.reserve(*words)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 8), st.integers(1, 4)), max_size=6), st.integers(0, 30))
def test_no_device_is_ever_kept_for_two_at_once(asked: list[tuple[int, int, int]], at: int) -> None:
    kept: list[Reservation] = []
    for number, (start, length, count) in enumerate(asked):
        try:
            devices = devices_for(STOCK, Wanted(profile="1g", count=count), kept, start, start + length)
        except NoSuchReservation:
            continue
        assert len(devices) == count
        kept.append(Reservation(str(number), devices, frozenset({f"u{number}"}), frozenset(), start, start + length))
    in_force = [d for r in kept if r.start <= at < r.end for d in r.devices]
    assert len(set(in_force)) == len(in_force)
    for reservation in kept:
        if reservation.start <= at < reservation.end:
            who = limits(user=f"u{reservation.id}")
            [given_] = choose(STOCK, [], who, parse_request_text("1g"), uid=1, now=at, reservations=kept)
            assert given_.key in reservation.devices
