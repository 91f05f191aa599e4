# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The local account files, homes and login keys: reading them, and writing what belongs to a person with that person's rights."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from .core.account_plan import Account, Databases, LocalGroup
from .file_set import write_atomically

KEYS = ".ssh/authorized_keys"
SYSTEM_UIDS_BELOW = 1000


def _lines(path: str, fields: int) -> Iterator[list[str]]:
    with open(path, encoding="utf-8", errors="surrogateescape") as stream:
        for line in stream:
            parts = line.rstrip("\n").split(":")
            if len(parts) >= fields and not line.startswith(("#", "+", "-")):
                yield parts


def directory_service_knows(name: str) -> bool:
    """Whether SSSD answers for the user name; False where there is no SSSD."""
    done = subprocess.run(["getent", "-s", "sss", "passwd", name], check=False, capture_output=True)
    return done.returncode == 0


def _bad_name_option() -> str:
    usage = subprocess.run(["useradd", "--help"], check=False, capture_output=True, text=True).stdout
    return "--badnames" if "--badnames" in usage else "--badname"


def read_databases(root: str = "/etc") -> Databases:
    """The local files below ``root``."""
    groups = {
        parts[0]: LocalGroup(parts[0], int(parts[2]), frozenset(name for name in parts[3].split(",") if name))
        for parts in _lines(os.path.join(root, "group"), 4)
    }
    names = {group.gid: group.name for group in groups.values()}
    accounts = {
        parts[0]: Account(parts[0], int(parts[2]), names.get(int(parts[3]), parts[3]), parts[4], parts[5], parts[6])
        for parts in _lines(os.path.join(root, "passwd"), 7)
    }
    return Databases(accounts, groups, directory_service_knows, _bad_name_option())


@contextlib.contextmanager
def rights_of(uid: int, gid: int) -> Iterator[None]:
    """Within the block, files are reached with that person's rights, so that no link of theirs leads where they may not go.

    For programs with one thread; the real and saved ids stay, so that the person can neither signal nor trace the process.
    """
    if os.geteuid() != 0:
        yield
        return
    groups, own_gid = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(own_gid)
        os.setgroups(groups)


@dataclass(frozen=True)
class KeyChange:
    """Login keys of one person that differ from what is asked for."""

    name: str
    uid: int
    gid: int
    home: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def read_keys(home: str, uid: int, gid: int) -> tuple[str, ...]:
    """The lines of the person's authorized_keys, empty ones and comments left out; empty where there is none."""
    with rights_of(uid, gid):
        try:
            with open(os.path.join(home, KEYS), encoding="utf-8", errors="replace") as stream:
                lines = stream.read().splitlines()
        except OSError:
            return ()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def write_keys(change: KeyChange) -> None:
    """Writes authorized_keys (0600) below ~/.ssh (0700), with the person's own rights."""
    with rights_of(change.uid, change.gid):
        directory = os.path.join(change.home, os.path.dirname(KEYS))
        os.makedirs(directory, mode=0o700, exist_ok=True)
        content = "".join(f"{line}\n" for line in change.after).encode()
        write_atomically(os.path.join(change.home, KEYS), content, 0o600, os.geteuid(), os.getegid())


def homes_too_open(root: str, mode: int) -> list[tuple[str, int]]:
    """(path, mode) of every directory directly below ``root`` that belongs to a person and allows more than ``mode``."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(os.scandir(root), key=lambda item: item.name):
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode) and status.st_uid >= SYSTEM_UIDS_BELOW and status.st_mode & 0o7777 & ~mode:
                found.append((entry.path, stat.S_IMODE(status.st_mode)))
    return found


def close_home(path: str, mode: int) -> None:
    """Takes the rights away from a home that go beyond ``mode``; a link in its place is refused by the kernel."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) & mode)
    finally:
        os.close(descriptor)
