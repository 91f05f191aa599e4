# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which commands make the local accounts what they ought to be. Pure: databases in, commands out.

Nothing here removes what somebody has: an account that goes leaves its home, uids and homes are never changed, memberships are only added.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

# What useradd takes without being told to (shadow 4.8 to 4.17, Debian's patch lets dots in).
ORDINARY_NAME = re.compile(r"[a-z_][a-z0-9_.-]*\$?")
# What would break the lines of the account files, a path or a command.
FORBIDDEN_IN_NAME = re.compile(r"[\s:/,\x00-\x1f\x7f\\'\"`$&|;<>*?!()\[\]{}]")
LONGEST_NAME = 63


class AccountError(Exception):
    """Raised where an account can't be had as asked for; the message names it and says what would be right."""


@dataclass(frozen=True)
class Account:
    """A line of /etc/passwd. ``group`` is the name of the primary group, or its number where it has no name."""

    name: str
    uid: int
    group: str
    comment: str
    home: str
    shell: str


@dataclass(frozen=True)
class LocalGroup:
    """A line of /etc/group."""

    name: str
    gid: int
    members: frozenset[str]


@dataclass(frozen=True)
class DesiredGroup:
    """``gid`` None lets groupadd choose."""

    name: str
    present: bool = True
    gid: int | None = None


@dataclass(frozen=True)
class DesiredAccount:
    """``directory``: the account comes from a directory service and only its memberships are managed here. None: leave as it is."""

    name: str
    present: bool = True
    directory: bool = False
    uid: int | None = None
    group: str | None = None
    groups: tuple[str, ...] = ()
    comment: str | None = None
    home: str | None = None
    shell: str | None = None


@dataclass(frozen=True)
class Step:
    """One command and what it does, in words."""

    argv: tuple[str, ...]
    action: str


@dataclass(frozen=True)
class Databases:
    """The local files as they are. ``elsewhere`` says whether a directory service knows a name."""

    accounts: Mapping[str, Account]
    groups: Mapping[str, LocalGroup]
    elsewhere: Callable[[str], bool]
    bad_name_option: str = "--badname"


def check_name(name: str, what: str) -> None:
    """Raises AccountError for a name that no account can safely have."""
    if not name or len(name) > LONGEST_NAME or FORBIDDEN_IN_NAME.search(name) or name[0] in "-~+." or name.isdigit():
        raise AccountError(
            f"{what} {name!r}: not a usable name; use up to {LONGEST_NAME} letters, digits and . _ - @,"
            " not digits alone, not beginning with - ~ + or ."
        )


def _name_options(name: str, databases: Databases) -> tuple[str, ...]:
    return () if ORDINARY_NAME.fullmatch(name) else (databases.bad_name_option,)


def _plan_group(wanted: DesiredGroup, databases: Databases) -> list[Step]:
    current = databases.groups.get(wanted.name)
    if not wanted.present:
        if current is None:
            return []
        primary = sorted(account.name for account in databases.accounts.values() if account.group == wanted.name)
        if primary:
            raise AccountError(f"group {wanted.name!r}: can't be removed while it is the primary group of {', '.join(primary)}")
        return [Step(("groupdel", wanted.name), f"remove group {wanted.name}")]
    if current is None:
        number = () if wanted.gid is None else ("--gid", str(wanted.gid))
        return [Step(("groupadd", *number, wanted.name), f"create group {wanted.name}")]
    if wanted.gid is not None and wanted.gid != current.gid:
        raise AccountError(f"group {wanted.name!r}: has gid {current.gid}, not {wanted.gid}; files carry it, so change the inventory")
    return []


def _creation(wanted: DesiredAccount, databases: Databases, skip_home: bool) -> Step:
    if databases.elsewhere(wanted.name):
        raise AccountError(
            f"user {wanted.name!r}: a directory service has this account, and a local one would hide it under another uid;"
            " give it 'source: directory', or take it off the list"
        )
    argv = ["useradd", *_name_options(wanted.name, databases)]
    argv += ["--no-create-home" if skip_home else "--create-home", "--key", "HOME_MODE=0700"]
    for option, value in (("--uid", wanted.uid), ("--gid", wanted.group), ("--comment", wanted.comment), ("--home-dir", wanted.home)):
        if value is not None:
            argv += [option, str(value)]
    argv += ["--shell", wanted.shell or "/bin/bash", wanted.name]
    return Step(tuple(argv), f"create user {wanted.name}")


def _changes(wanted: DesiredAccount, current: Account) -> list[Step]:
    if wanted.uid is not None and wanted.uid != current.uid:
        raise AccountError(
            f"user {wanted.name!r}: has uid {current.uid}, not {wanted.uid}; files and slices carry the number, so change the inventory"
        )
    if wanted.home is not None and wanted.home != current.home:
        raise AccountError(
            f"user {wanted.name!r}: has home {current.home}, not {wanted.home}; moving a home is no converge, do it by hand first"
        )
    options: list[str] = []
    for option, value, held in (
        ("--gid", wanted.group, current.group),
        ("--comment", wanted.comment, current.comment),
        ("--shell", wanted.shell, current.shell),
    ):
        if value is not None and value != held:
            options += [option, value]
    return [Step(("usermod", *options, wanted.name), f"change {' '.join(options)} of user {wanted.name}")] if options else []


def _memberships(wanted: DesiredAccount, current: Account | None, databases: Databases, new_groups: frozenset[str]) -> list[Step]:
    steps = []
    for name in wanted.groups:
        group = databases.groups.get(name)
        if group is None and name not in new_groups:
            raise AccountError(f"user {wanted.name!r}: group {name!r} does not exist here; list it under groups, or install its package")
        primary = current.group if current is not None else wanted.group
        if primary != name and (group is None or wanted.name not in group.members):
            steps.append(Step(("gpasswd", "--add", wanted.name, name), f"add {wanted.name} to group {name}"))
    return steps


def plan_accounts(
    groups: Iterable[DesiredGroup],
    accounts: Iterable[DesiredAccount],
    databases: Databases,
    *,
    existing_homes: frozenset[str] = frozenset(),
) -> list[Step]:
    """Commands in the order in which they work: new groups, accounts, memberships, then what goes. Refuses the whole list or plans it."""
    groups, accounts = list(groups), list(accounts)
    for what, names in (("group", [group.name for group in groups]), ("user", [account.name for account in accounts])):
        for name in names:
            check_name(name, what)
            if names.count(name) > 1:
                raise AccountError(f"{what} {name!r}: is listed twice")
    new_groups = frozenset(group.name for group in groups if group.present)
    made: list[Step] = []
    memberships: list[Step] = []
    gone: list[Step] = []
    for group in groups:
        (made if group.present else gone).extend(_plan_group(group, databases))
    for wanted in accounts:
        current = databases.accounts.get(wanted.name)
        if not wanted.present:
            if current is not None:
                if current.uid == 0:
                    raise AccountError(f"user {wanted.name!r}: has uid 0 and is not removed")
                gone.insert(0, Step(("userdel", wanted.name), f"remove user {wanted.name} (the home stays)"))
            continue
        if not wanted.directory:
            if wanted.group is not None and wanted.group not in databases.groups and wanted.group not in new_groups:
                raise AccountError(f"user {wanted.name!r}: primary group {wanted.group!r} does not exist here; list it under groups")
            home = wanted.home or f"/home/{wanted.name}"
            made.extend([_creation(wanted, databases, home in existing_homes)] if current is None else _changes(wanted, current))
        memberships.extend(_memberships(wanted, current, databases, new_groups))
    return [*made, *memberships, *gone]
