# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Logins, refused logins, use of other identities and started programs: read from lines of the journal and of the audit log.

Only what the writer of a line could not invent is believed. journald vouches for the fields that begin with ``_``; the kernel for the audit
log, where a name with anything unusual in it stands in hexadecimal. The text of a message is believed only of programs that run as root.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

SESSION_BEGAN = "8d45620c1a4348dbb17410da57c60c66"  # SD_MESSAGE_SESSION_START of systemd/sd-messages.h
SESSION_ENDED = "3354939424b4456d9802ca8333ed424a"  # SD_MESSAGE_SESSION_STOP
LOGIND = "systemd-logind.service"
SSHD = ("sshd", "sshd-session")
SWITCHERS = ("/usr/bin/sudo", "/usr/bin/su")
AUDIT_KEY = "ds01_exec"
UNSET = 2**32 - 1

_ACCEPTED = re.compile(r"Accepted (\S+) for (\S+) from (\S+) port (\d+)\b")
# Greedy: a name that pretends to be an address ends before the last " from ".
_FAILED = re.compile(r"Failed \S+ for (?:invalid user )?(.*) from (\S+) port (\d+)(?: ssh2)?(?:: .*)?$", re.DOTALL)
_TURNED_AWAY = re.compile(
    r"Connection (?:closed|reset) by (?:authenticating|invalid) user (.*) (\S+) port (\d+)(?: \[preauth\])?$", re.DOTALL
)
# sudo and su say first what went wrong; where nothing did, they begin with where and as whom.
_SWITCHED = re.compile(r"\s*\S+ : (?:HOST|TTY|CHROOT|PWD|GROUP|USER)=|\(to ")
_DENIED = re.compile(r"\s*\S+ : .*COMMAND=|FAILED SU ", re.DOTALL)
_AUDIT = re.compile(r"^type=SYSCALL msg=audit\((\d+)\.(\d{3}):\d+\):")
_FIELD = re.compile(r'\b(auid|uid|exe|comm|key|success)=("[^"]*"|\S+)')


class Kind(Enum):
    """What happened."""

    LOGIN = "login"
    REFUSED = "refused"
    BEGAN = "session began"
    ENDED = "session ended"
    SWITCHED = "used another identity"
    DENIED = "was refused another identity"
    PROGRAM = "program"


BY_UID = frozenset({Kind.SWITCHED, Kind.DENIED, Kind.PROGRAM})


@dataclass(frozen=True)
class Record:
    """``time``: seconds since the epoch, UTC. ``who``: a name, or for ``BY_UID`` the uid that logged in, in digits.

    ``where``: address of a login, id of a session, path of a program. ``how``: method of a login, port of a refused one, ``other`` for a
    program under another uid than that of the login.
    """

    kind: Kind
    time: float
    who: str
    where: str = ""
    how: str = ""


def from_journal(entry: Mapping[str, Any]) -> Record | None:
    """The record in one entry of ``journalctl -o json``; None for everything else."""
    try:
        at = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
    except (KeyError, TypeError, ValueError):
        return None
    if entry.get("_SYSTEMD_UNIT") == LOGIND and entry.get("MESSAGE_ID") in (SESSION_BEGAN, SESSION_ENDED):
        kind = Kind.BEGAN if entry["MESSAGE_ID"] == SESSION_BEGAN else Kind.ENDED
        return Record(kind, at, str(entry.get("USER_ID") or ""), str(entry.get("SESSION_ID") or ""))
    message = entry.get("MESSAGE")
    if not isinstance(message, str):
        return None
    if entry.get("_EXE") in SWITCHERS:
        login = str(entry.get("_AUDIT_LOGINUID") or "")
        what = Kind.SWITCHED if _SWITCHED.match(message) else Kind.DENIED if _DENIED.match(message) else None
        return Record(what, at, login) if what is not None and login.isdigit() and int(login) != UNSET else None
    if entry.get("_UID") == "0" and entry.get("_COMM") in SSHD:
        return _from_sshd(at, message)
    return None


def _from_sshd(at: float, message: str) -> Record | None:
    if found := _ACCEPTED.match(message):
        return Record(Kind.LOGIN, at, found[2], found[3], found[1])
    if found := _FAILED.match(message) or _TURNED_AWAY.match(message):
        return Record(Kind.REFUSED, at, found[1], found[2], found[3])
    return None


def from_audit(line: str) -> Record | None:
    """The record in one line of the audit log: a program that somebody who logged in has started; None for everything else."""
    head = _AUDIT.match(line)
    if head is None:
        return None
    fields = dict(_FIELD.findall(line.partition("\x1d")[0]))
    login = fields.get("auid", "")
    if fields.get("key") != f'"{AUDIT_KEY}"' or fields.get("success") != "yes" or not login.isdigit() or int(login) == UNSET:
        return None
    other = "other" if fields.get("uid") != login else ""
    return Record(Kind.PROGRAM, int(head[1]) + int(head[2]) / 1000, login, _audit_text(fields.get("exe", "?")), other)


def _audit_text(value: str) -> str:
    """A string of the audit log: quoted, or in hexadecimal where it holds a blank, a quote or something unprintable."""
    if value.startswith('"'):
        return value.strip('"')
    try:
        return bytes.fromhex(value).decode("utf-8", "replace")
    except ValueError:
        return value
