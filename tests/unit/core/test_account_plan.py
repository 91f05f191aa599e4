# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Accounts: the right commands in an order that works, and nothing that takes something away from somebody."""

from __future__ import annotations

from typing import Any

import pytest

from ds01.core.account_plan import Account, AccountError, Databases, DesiredAccount, DesiredGroup, LocalGroup, plan_accounts

ALICE = Account("alice", 1000, "alice", "Alice", "/home/alice", "/bin/bash")
ROOT = Account("root", 0, "root", "", "/root", "/bin/bash")


def databases(directory: tuple[str, ...] = ()) -> Databases:
    groups = [LocalGroup("root", 0, frozenset()), LocalGroup("alice", 1000, frozenset()), LocalGroup("sudo", 27, frozenset({"alice"}))]
    return Databases({"alice": ALICE, "root": ROOT}, {group.name: group for group in groups}, directory.__contains__)


def commands(groups: list[DesiredGroup], accounts: list[DesiredAccount], **options: Any) -> list[str]:
    directory = options.pop("directory", ())
    return [" ".join(step.argv) for step in plan_accounts(groups, accounts, databases(directory), **options)]


def test_groups_come_before_their_users_and_members_after() -> None:
    planned = commands([DesiredGroup("lab", gid=3000)], [DesiredAccount("bob", group="lab", groups=("sudo",), uid=1200)])
    assert planned == [
        "groupadd --gid 3000 lab",
        "useradd --create-home --key HOME_MODE=0700 --uid 1200 --gid lab --shell /bin/bash bob",
        "gpasswd --add bob sudo",
    ]


def test_what_is_there_stays() -> None:
    assert commands([DesiredGroup("sudo")], [DesiredAccount("alice", uid=1000, groups=("sudo", "alice"), shell="/bin/bash")]) == []


def test_memberships_are_only_added() -> None:
    assert commands([], [DesiredAccount("alice", groups=())]) == []


@pytest.mark.parametrize("name", ["first.last", "j_doe", "a" * 40, "x-1"])
def test_ordinary_names(name: str) -> None:
    assert "--badname" not in commands([], [DesiredAccount(name)])[0]


@pytest.mark.parametrize("name", ["248835@hertie-school.lan", "Jane.Doe", "1abc"])
def test_names_that_useradd_has_to_be_told_about(name: str) -> None:
    assert commands([], [DesiredAccount(name)])[0].startswith("useradd --badname ")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "../x", "-x", "x\ny", "1234", "$(x)", "a" * 64, "+x", "a,b", ".."])
def test_names_that_nobody_can_have(name: str) -> None:
    with pytest.raises(AccountError, match="not a usable name"):
        commands([], [DesiredAccount(name)])


def test_a_local_account_never_hides_one_of_the_directory() -> None:
    with pytest.raises(AccountError, match="directory service"):
        commands([], [DesiredAccount("carol")], directory=("carol",))
    assert commands([], [DesiredAccount("carol", directory=True, groups=("sudo",))], directory=("carol",)) == ["gpasswd --add carol sudo"]


def test_a_home_that_is_there_is_not_filled_again() -> None:
    assert "--no-create-home" in commands([], [DesiredAccount("bob")], existing_homes=frozenset({"/home/bob"}))[0]


@pytest.mark.parametrize(
    ("groups", "accounts", "message"),
    [
        ([], [DesiredAccount("alice", uid=1001)], "has uid 1000"),
        ([], [DesiredAccount("alice", home="/srv/alice")], "has home"),
        ([DesiredGroup("sudo", gid=28)], [], "has gid 27"),
        ([DesiredGroup("alice", present=False)], [], "primary group of alice"),
        ([], [DesiredAccount("root", present=False)], "uid 0"),
        ([], [DesiredAccount("bob", group="nowhere")], "primary group 'nowhere'"),
        ([], [DesiredAccount("bob", groups=("nowhere",))], "group 'nowhere'"),
        ([], [DesiredAccount("bob"), DesiredAccount("bob")], "twice"),
    ],
)
def test_refusals_refuse_the_whole_list(groups: list[DesiredGroup], accounts: list[DesiredAccount], message: str) -> None:
    with pytest.raises(AccountError, match=message):
        commands([DesiredGroup("new"), *groups], [DesiredAccount("dave"), *accounts])


def test_who_goes_goes_last_and_leaves_the_home() -> None:
    planned = commands([DesiredGroup("lab")], [DesiredAccount("alice", present=False), DesiredAccount("bob", group="lab")])
    assert planned[-1] == "userdel alice" and planned[0] == "groupadd lab"
    assert commands([], [DesiredAccount("nobody-here", present=False)]) == []
