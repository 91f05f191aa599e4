# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Who may use GPUs outside containers: policy and grants, their end by itself, and what running sessions notice of it."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ds01_fence import __main__ as command
from ds01_fence import exemptions
from ds01_fence.fence import Fence
from ds01_fence.settings import Settings, SettingsError, load

from ds01 import policy_file
from ds01.bare_metal_grants import read
from ds01.core.bare_metal import Exempt, Grant, exempt_people, grant_from_dict, grant_to_dict
from ds01.fence_units import DROP_IN, FenceUnits
from ds01.policy_file import UserFacts

NOW = 1_800_000_000.0
PEOPLE = {
    name: UserFacts(name, uid, f"/home/{name}", ("staff",) if name == "bob" else ())
    for name, uid in (("alice", 1001), ("bob", 1002), ("eve", 1003))
}


class Host:
    """A host with a policy, running sessions, and a systemctl that is written down."""

    def __init__(self, root: Path) -> None:
        self.root, self.now = root, NOW
        for name in ("system", "cgroup/user.slice", "cgroup/system.slice", "home"):
            (root / name).mkdir(parents=True)
        (root / "devices").write_text("Character devices:\n195 nvidia\n")
        self.calls: list[tuple[str, ...]] = []
        self.timer = False
        self.policy()
        self.fence = Fence(
            Settings(("cron.service",), (str(root / "home"),)),
            FenceUnits(root / "system", root / "cgroup", root / "run" / "fence.json", self.run),
            policy=str(root / "policy.json"),
            grants=root / "bare-metal.d",
            lock=root / "run" / "fence.lock",
            proc_devices=root / "devices",
            clock=lambda: self.now,
        )

    def policy(self, *exempt: dict[str, Any]) -> None:
        rules = [{"from": ["bare_metal"], "reason": "thesis", "granted_by": "admin", "expires": None, **e} for e in exempt]
        document = {
            "version": 1,
            "default_group": "students",
            "groups": {"students": {}, "staff": {"linux_groups": ["staff"]}},
            "exemptions": rules,
        }
        (self.root / "policy.new").write_text(json.dumps(document))
        os.replace(self.root / "policy.new", self.root / "policy.json")

    def log_in(self, uid: int) -> None:
        (self.root / "cgroup/user.slice" / f"user-{uid}.slice").mkdir()

    def run(self, *words: str) -> str:
        self.calls.append(words)
        if "list-units" in words:
            return "ds01-fence-expiry.timer\n" if self.timer else ""
        if words[0] == "systemd-run":
            self.timer = True
        return "[not set]\n" if "show" in words else ""

    def nudged(self) -> list[str]:
        return [c[3] for c in self.calls if c[1] == "set-property"]

    def open(self) -> list[int]:
        return self.fence.units.drop_ins()

    def command(self, *words: str) -> int:
        return command.main(words, self.fence)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    def by_name(name: str) -> UserFacts:
        if name not in PEOPLE:
            raise LookupError(f"{name}: the user database doesn't know this name")
        return PEOPLE[name]

    def by_uid(uid: int) -> UserFacts:
        return next((f for f in PEOPLE.values() if f.uid == uid), None) or by_name(str(uid))

    monkeypatch.setattr(command, "facts_by_name", by_name)
    monkeypatch.setattr(exemptions.from_policy, "__defaults__", (*(exemptions.from_policy.__defaults__ or ())[:1], by_name, by_uid))
    monkeypatch.setattr(policy_file, "facts_by_name", by_name)
    return Host(tmp_path)


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()


class TestPolicy:
    def test_nobody_is_exempt_by_default(self, host: Host) -> None:
        host.log_in(1001)
        assert host.fence.apply().exempt == {} and host.open() == []

    def test_a_user_until_a_moment_and_then_by_itself(self, host: Host) -> None:
        host.policy({"user": "alice", "expires": iso(NOW + 3600)})
        host.log_in(1001)
        host.fence.apply()
        assert host.open() == [1001] and host.nudged() == ["user-1001.slice"]
        text = (host.root / "system/user-1001.slice.d" / DROP_IN).read_text()
        assert "DevicePolicy=auto\nDeviceAllow=\n" in text
        woken = next(c for c in host.calls if c[0] == "systemd-run")
        assert "--on-calendar=2027-01-15 09:00:01 UTC" in woken and woken[-1] == "ds01-fence-refresh.service"
        host.now += 3601
        host.calls.clear()
        host.fence.apply()
        assert host.open() == [] and host.nudged() == ["user-1001.slice"]
        assert not any(c[0] == "systemd-run" for c in host.calls)

    def test_a_group_reaches_who_is_logged_in_and_who_has_a_home(self, host: Host) -> None:
        host.policy({"group": "staff"})
        assert host.fence.apply().exempt == {}
        host.log_in(1002)
        host.log_in(1003)
        assert list(host.fence.apply().exempt) == [1002]

    def test_other_rules_and_single_containers_exempt_nobody(self, host: Host) -> None:
        host.policy({"user": "alice", "from": ["idle"]}, {"user": "bob", "container": "train", "from": ["idle"]})
        assert host.fence.apply().exempt == {}

    def test_a_broken_policy_is_said_and_grants_hold_on(self, host: Host) -> None:
        host.policy({"user": "alice"})
        assert host.command("grant", "bob", "--for", "1h", "--reason", "x") == 0 and host.open() == [1001, 1002]
        (host.root / "policy.json").write_text("{")
        outcome = host.fence.apply()
        assert host.open() == [1002] and "policy.json" in outcome.problems[0]


class TestGrants:
    def test_grant_and_its_end(self, host: Host, capsys: pytest.CaptureFixture[str]) -> None:
        host.log_in(1001)
        assert host.command("grant", "alice", "--for", "4h", "--reason", "Nsight\nprofiling") == 0
        assert host.open() == [1001] and host.nudged() == ["user-1001.slice"]
        assert "alice  until 2027-01-15 12:00 UTC" in capsys.readouterr().out
        host.fence.apply()
        assert host.nudged() == ["user-1001.slice"], "again is nothing"
        host.now += 4 * 3600
        assert host.fence.apply().plan.close == (1001,) and host.open() == []

    def test_revoke(self, host: Host, capsys: pytest.CaptureFixture[str]) -> None:
        host.command("grant", "alice", "--forever", "--reason", "x")
        assert host.command("revoke", "alice") == 0 and host.open() == []
        assert host.command("revoke", "alice") == 1 and "has no grant" in capsys.readouterr().err

    def test_list_as_json(self, host: Host, capsys: pytest.CaptureFixture[str]) -> None:
        host.policy({"user": "alice"})
        host.command("grant", "bob", "--until", "2027-02-01T00:00+01:00", "--reason", "x")
        capsys.readouterr()
        assert host.command("list", "--json") == 0
        listed = json.loads(capsys.readouterr().out)
        assert [(p["user"], p["until"]) for p in listed] == [("alice", None), ("bob", 1801436400.0)]

    def test_listing_changes_nothing(self, host: Host) -> None:
        host.policy({"user": "alice"})
        host.command("list")
        assert host.open() == [] and host.calls == []

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("grant", "nobody-here", "--for", "1h", "--reason", "x"), "nobody-here"),
            (("grant", "alice", "--for", "soon", "--reason", "x"), "a duration with a unit"),
            (("grant", "alice", "--for", "0", "--reason", "x"), "not after now"),
            (("grant", "alice", "--until", "2001-01-01", "--reason", "x"), "not after now"),
            (("grant", "alice", "--until", "later", "--reason", "x"), "ISO 8601"),
            (("grant", "alice", "--for", "1h", "--reason", "  "), "--reason is empty"),
        ],
    )
    def test_what_is_wrong_grants_nothing(self, host: Host, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str) -> None:
        assert host.command(*words) == 1 and says in capsys.readouterr().err
        assert read(host.fence.grants).grants == () and host.open() == []

    @pytest.mark.parametrize(
        "text", ["{", "[]", '{"uid": 1001}', '{"uid": 7, "user": "a", "until": null, "reason": "", "granted_by": "", "granted_at": 0}']
    )
    def test_a_file_that_is_no_grant_grants_nothing(self, host: Host, text: str) -> None:
        host.fence.grants.mkdir()
        (host.fence.grants / "1001.json").write_text(text)
        outcome = host.fence.apply()
        assert outcome.exempt == {} and len(outcome.problems) == 1 and "1001.json" in outcome.problems[0]

    def test_a_file_that_others_can_write_grants_nothing(self, host: Host) -> None:
        host.command("grant", "alice", "--forever", "--reason", "x")
        (host.fence.grants / "1001.json").chmod(0o666)
        assert host.fence.apply().exempt == {}

    def test_only_root(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1001)
        assert command.main(["list"]) == 1 and "sudo ds01-fence list" in capsys.readouterr().err


class TestRunning:
    def test_sessions_and_services_are_nudged_once_and_root_never(self, host: Host) -> None:
        for uid in (0, 1001):
            host.log_in(uid)
        (host.root / "cgroup/system.slice/cron.service").mkdir()
        host.fence.apply()
        assert host.nudged() == ["cron.service", "user-1001.slice"]
        host.calls.clear()
        host.fence.apply()
        assert host.nudged() == [] and not any("daemon-reload" in c for c in host.calls)

    def test_a_new_class_of_devices_reaches_running_sessions(self, host: Host) -> None:
        host.log_in(1001)
        host.fence.apply()
        (host.root / "devices").write_text("Character devices:\n188 ttyUSB\n195 nvidia\n")
        host.calls.clear()
        host.fence.apply()
        assert host.nudged() == ["user-1001.slice"]

    def test_the_weight_that_a_unit_has_is_kept(self, host: Host) -> None:
        said: list[tuple[str, ...]] = []
        units = FenceUnits(host.root, host.root, host.root / "r", lambda *w: said.append(w) or "500\n")
        units.nudge("user-1001.slice")
        assert said[-1] == ("systemctl", "set-property", "--runtime", "user-1001.slice", "CPUWeight=500")

    def test_a_fence_that_was_taken_down_reaches_running_sessions(self, host: Host) -> None:
        host.log_in(1001)
        host.fence.apply()
        host.calls.clear()
        host.fence.settings = Settings(("cron.service",), (), enforced=False)
        host.fence.apply()
        assert host.nudged() == ["user-1001.slice"]

    def test_other_drop_ins_of_a_person_stay(self, host: Host) -> None:
        host.command("grant", "alice", "--forever", "--reason", "x")
        other = host.root / "system/user-1001.slice.d/10-memory.conf"
        other.write_text("[Slice]\n")
        host.command("revoke", "alice")
        assert other.exists() and host.open() == []

    def test_roots_own_file_is_not_touched(self, host: Host) -> None:
        mine = host.root / "system/user-0.slice.d"
        mine.mkdir()
        (mine / DROP_IN).write_text("[Slice]\n")
        host.fence.apply()
        assert (mine / DROP_IN).exists()


class TestPure:
    def test_the_later_end_counts(self) -> None:
        grant = Grant(1001, "alice", NOW + 50, "r", "root", NOW)
        for until, expected in ((NOW + 10, NOW + 50), (NOW + 90, NOW + 90), (None, None), (NOW - 1, NOW + 50)):
            assert exempt_people([Exempt(1001, "alice", until, ("p",))], [grant], NOW)[1001].until == expected

    def test_at_the_very_moment_it_is_over(self) -> None:
        assert exempt_people([], [Grant(1001, "a", NOW, "r", "root", 0)], NOW) == {}
        assert exempt_people([Exempt(0, "root", None, ())], [], NOW) == {}

    def test_grants_survive_their_file(self) -> None:
        grant = Grant(1001, "a@b", None, "r", "root", 1.5)
        assert grant_from_dict(json.loads(json.dumps(grant_to_dict(grant)))) == grant

    @pytest.mark.parametrize(
        "text",
        ["{", "{}", '{"services": "cron", "home_roots": []}', '{"services": [1], "home_roots": []}', '{"services": [], "home_roots": []}'],
    )
    def test_settings_that_are_none(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "f").write_text(text)
        with pytest.raises(SettingsError):
            load(tmp_path / "f")
