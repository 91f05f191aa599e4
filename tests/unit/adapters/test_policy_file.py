# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The policy file: read again when it changes, never worse than the last good one; and the user database."""

from __future__ import annotations

import copy
import json
import os
import pwd
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ds01 import policy_file
from ds01.core.limits import Limits
from ds01.core.policy_check import canonical_text
from ds01.core.policy_problems import PolicyError
from ds01.core.policy_resolve import resolve
from ds01.policy_file import PolicyFile, Resolver, UserFacts, facts_by_name, facts_by_uid

POLICY: dict[str, Any] = {"version": 1, "default_group": "all", "groups": {"all": {}, "lab": {"linux_groups": ["lab"]}}}


def put(path: Path, text: str) -> None:
    """Replace the file as a role does: written beside it and renamed."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, path)


def with_builds(number: int) -> str:
    document = copy.deepcopy(POLICY)
    document["gate"] = {"builds": number}
    return canonical_text(document)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "policy.json"
    put(path, with_builds(1))
    return path


def test_a_change_is_noticed_and_an_unchanged_file_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policies = PolicyFile(str(path))
    first = policies.current()
    assert first.gate.builds == 1

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the file was parsed again")

    with monkeypatch.context() as patch:
        patch.setattr(policy_file, "load", forbidden)
        assert policies.current() is first
    put(path, with_builds(2))
    assert policies.current().gate.builds == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is not JSON"),
        ('{"version": 1, "version": 1}', "stands twice"),
        ("\udcff", "is not JSON"),
        ("[]", "expected a mapping"),
        ('{"version": 7, "default_group": "a", "groups": {"a": {}}}', "expected 1"),
        ('{"version": 1, "default_group": "b", "groups": {"a": {}}}', "no such group"),
        (None, "can't be read"),
    ],
)
def test_a_bad_file_leaves_the_last_good_policy_and_is_told_once(path: Path, content: str | None, told: str) -> None:
    heard: list[str] = []
    policies = PolicyFile(str(path), on_problem=heard.append)
    good = policies.current()
    assert policies.problem is None
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content.encode(errors="surrogateescape"))
    assert policies.current() is good
    assert policies.current() is good
    assert policies.problem is not None
    assert told in policies.problem
    assert heard == [policies.problem]
    put(path, with_builds(3))
    assert policies.current().gate.builds == 3
    assert policies.problem is None


def test_without_any_good_policy_nothing_is_granted(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    policies = PolicyFile(str(path))
    with pytest.raises(PolicyError, match="can't be read: No such file"):
        policies.current()
    path.write_text("{}")
    for _ in range(2):
        with pytest.raises(PolicyError, match="must be set"):
            policies.current()
    put(path, with_builds(1))
    assert policies.current().gate.builds == 1


def test_many_threads_see_one_policy_or_the_other(path: Path) -> None:
    policies = PolicyFile(str(path))
    seen: set[int] = set()
    failures: list[BaseException] = []
    done = threading.Event()

    def look() -> None:
        try:
            while not done.is_set():
                seen.add(policies.current().gate.builds)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(2, 30):
        put(path, with_builds(number))
    done.set()
    for thread in threads:
        thread.join(10)
    assert failures == []
    assert policies.current().gate.builds == 29
    assert seen <= set(range(1, 30))


def entry(name: str, uid: int) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, 100, "", f"/home/{name}", "/bin/sh"))


def test_facts_of_root() -> None:
    root = facts_by_uid(0)
    assert (root.name, root.uid, root.home) == ("root", 0, "/root")
    assert "root" in root.linux_groups
    assert facts_by_name("root") == root


def test_a_name_that_leads_to_another_uid_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # A local alice (1003) hides the alice of the domain (20002): the uid says alice, and alice says 1003.
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: entry("alice", uid))
    monkeypatch.setattr(pwd, "getpwnam", lambda name: entry(name, 1003))
    with pytest.raises(LookupError, match="'alice' belongs to uid 1003"):
        facts_by_uid(20002)
    assert facts_by_uid(1003).name == "alice"


def test_an_unknown_person_is_refused() -> None:
    with pytest.raises(LookupError, match="getent passwd 4294967290"):
        facts_by_uid(4294967290)
    with pytest.raises(LookupError, match="getent passwd no-such-user"):
        facts_by_name("no-such-user")


def test_the_resolver_asks_the_user_database_once_in_a_while(path: Path) -> None:
    asked: list[int] = []
    clock = [0.0]
    groups: list[tuple[str, ...]] = [()]

    def lookup(uid: int) -> UserFacts:
        asked.append(uid)
        return UserFacts("u", uid, "/home/u", groups[0])

    resolver = Resolver(
        PolicyFile(str(path)),
        lookup=lookup,
        now=lambda: datetime(2030, 1, 1, tzinfo=timezone.utc),
        monotonic=lambda: clock[0],
        facts_for=30,
    )
    assert [resolver.limits(7).group, resolver.limits(7, kind="batch").group] == ["all", "all"]
    assert resolver.limits(7).bind_roots[0].path == "/home/u"
    assert asked == [7]
    groups[0] = ("lab",)
    clock[0] = 29.9
    assert resolver.limits(7).group == "all"
    clock[0] = 30.0
    assert resolver.limits(7).group == "lab"
    assert asked == [7, 7]
    resolver.forget()
    assert resolver.facts(7).linux_groups == ("lab",)
    assert asked == [7, 7, 7]


def test_a_failed_look_up_is_not_remembered(path: Path) -> None:
    known = [False]

    def lookup(uid: int) -> UserFacts:
        if not known[0]:
            raise LookupError("not yet")
        return UserFacts("u", uid, "/home/u", ())

    resolver = Resolver(PolicyFile(str(path)), lookup=lookup)
    with pytest.raises(LookupError):
        resolver.limits(7)
    known[0] = True
    assert resolver.limits(7).user == "u"


def test_limits_are_laid_together_once_until_something_changes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str | None] = []

    def counted(*arguments: Any, **options: Any) -> Limits:
        made.append(options["container"])
        return resolve(*arguments, **options)

    monkeypatch.setattr(policy_file, "resolve", counted)
    ends = datetime(2030, 1, 2, tzinfo=timezone.utc)
    lifted = {"group": "all", "from": ["bare_metal"], "reason": "r", "granted_by": "g", "expires": ends.isoformat()}
    document = {**json.loads(path.read_text()), "exemptions": [lifted]}
    put(path, json.dumps(document))
    moment = [ends - timedelta(seconds=1)]
    resolver = Resolver(PolicyFile(str(path)), lookup=lambda uid: UserFacts("u", uid, "/home/u", ()), now=lambda: moment[0])
    assert [resolver.limits(7).bare_metal, resolver.limits(7).bare_metal] == [True, True]
    assert len(made) == 1
    moment[0] = ends
    assert [resolver.limits(7).bare_metal, resolver.limits(7).bare_metal] == [False, False]
    assert len(made) == 2
    put(path, json.dumps({**document, "exemptions": [{**lifted, "expires": None}]}))
    assert resolver.limits(7).bare_metal
    moment[0] = ends - timedelta(days=1)
    assert resolver.limits(7).bare_metal
    assert [resolver.limits(7, container="box").bare_metal, resolver.limits(7, container="box").bare_metal] == [True, True]
    assert made[-2:] == ["box", "box"]
