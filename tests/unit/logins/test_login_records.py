# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a line of the journal or the audit log says, and that nobody can write themselves or others into the record."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.login_records import SESSION_BEGAN, SESSION_ENDED, Kind, Record, from_audit, from_journal

RULES = Path(__file__).resolve().parents[3] / "roles/logins/templates/audit.rules.j2"
SSHD = {"_UID": "0", "_COMM": "sshd-session", "_EXE": "/usr/lib/openssh/sshd-session"}
SUDO = {"_UID": "0", "_COMM": "sudo", "_EXE": "/usr/bin/sudo", "_AUDIT_LOGINUID": "3101"}
LOGIND = {"_UID": "0", "_SYSTEMD_UNIT": "systemd-logind.service", "SESSION_ID": "7", "USER_ID": "alice"}
EXEC = (
    "type=SYSCALL msg=audit(1800000000.250:9041): arch=c000003e syscall=59 success=yes exit=0 a0=1 a1=2 a2=3 a3=8 items=2 ppid=10 pid=11 "
    'auid={auid} uid={uid} gid=100 euid={uid} suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=pts0 ses=3 comm="python3" exe={exe} subj=unconfined '
    "key={key}"
)


def entry(origin: dict[str, str], message: str, **more: str) -> dict[str, Any]:
    return {"__REALTIME_TIMESTAMP": "1800000000250000", "MESSAGE": message, **origin, **more}


def audit(auid: str = "3101", uid: str = "3101", exe: str = '"/usr/bin/python3.13"', key: str = '"ds01_exec"') -> str:
    return EXEC.format(auid=auid, uid=uid, exe=exe, key=key) + "\n"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "Accepted publickey for alice from 10.1.2.3 port 51000 ssh2: ED25519 SHA256:abc",
            (Kind.LOGIN, "alice", "10.1.2.3", "publickey"),
        ),
        (
            "Accepted password for 248835@hertie-school.lan from 2001:db8::7 port 1 ssh2",
            (Kind.LOGIN, "248835@hertie-school.lan", "2001:db8::7", "password"),
        ),
        ("Failed password for invalid user root from 203.0.113.9 port 40 ssh2", (Kind.REFUSED, "root", "203.0.113.9", "40")),
        ("Connection closed by invalid user oracle 203.0.113.9 port 41 [preauth]", (Kind.REFUSED, "oracle", "203.0.113.9", "41")),
        ("Connection reset by authenticating user alice 203.0.113.9 port 42 [preauth]", (Kind.REFUSED, "alice", "203.0.113.9", "42")),
        # A stranger's name that pretends to be another address.
        (
            "Failed password for invalid user x from 10.1.2.3 port 22 ssh2 from 203.0.113.9 port 43 ssh2",
            (Kind.REFUSED, "x from 10.1.2.3 port 22 ssh2", "203.0.113.9", "43"),
        ),
        ("pam_unix(sshd:session): session opened for user alice(uid=3101) by (uid=0)", None),
        ("Server listening on 0.0.0.0 port 22.", None),
    ],
)
def test_sshd(message: str, expected: tuple[Kind, str, str, str] | None) -> None:
    found = from_journal(entry(SSHD, message))
    assert found == (None if expected is None else Record(expected[0], 1800000000.25, *expected[1:]))


ACCEPTED = "Accepted publickey for root from 10.0.0.1 port 1 ssh2: RSA SHA256:x"


@pytest.mark.parametrize(
    "forged",
    [
        entry({"_UID": "3101", "_COMM": "logger", "SYSLOG_IDENTIFIER": "sshd"}, ACCEPTED),
        entry({"_UID": "3101", "_COMM": "sshd-session"}, ACCEPTED),
        entry({"_UID": "0", "_COMM": "evil", "SYSLOG_IDENTIFIER": "sshd-session"}, ACCEPTED),
        entry({"SYSLOG_IDENTIFIER": "sudo", "_COMM": "sudo", "_EXE": "/home/alice/sudo", "_UID": "3101"}, "bob : TTY=p ; COMMAND=/x"),
        {
            **entry({"_UID": "3101", "_SYSTEMD_UNIT": "session-7.scope"}, "x"),
            "MESSAGE_ID": SESSION_BEGAN,
            "USER_ID": "bob",
            "SESSION_ID": "1",
        },
        {**entry(SSHD, ""), "MESSAGE": [65, 99, 99]},
        {"MESSAGE": ACCEPTED, **SSHD},
        {**entry(SSHD, ACCEPTED), "__REALTIME_TIMESTAMP": "yesterday"},
    ],
)
def test_nobody_writes_a_login_into_the_journal(forged: dict[str, Any]) -> None:
    assert from_journal(forged) is None


def test_sessions() -> None:
    assert from_journal(entry(LOGIND, "New session", MESSAGE_ID=SESSION_BEGAN)) == Record(Kind.BEGAN, 1800000000.25, "alice", "7")
    assert from_journal(entry(LOGIND, "Removed session", MESSAGE_ID=SESSION_ENDED)) == Record(Kind.ENDED, 1800000000.25, "alice", "7")
    assert from_journal(entry(LOGIND, "New seat seat0.", MESSAGE_ID="x")) is None


@pytest.mark.parametrize(
    ("exe", "message", "kind"),
    [
        ("sudo", "   alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/id", Kind.SWITCHED),
        ("sudo", "   alice : PWD=/ ; USER=root ; COMMAND=/usr/bin/id", Kind.SWITCHED),
        ("sudo", "   alice : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh", Kind.DENIED),
        ("sudo", "   alice : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh", Kind.DENIED),
        ("su", "(to root) alice on pts/0", Kind.SWITCHED),
        ("su", "FAILED SU (to root) alice on pts/0", Kind.DENIED),
        ("sudo", "pam_unix(sudo:session): session opened for user root(uid=0) by alice(uid=3101)", None),
    ],
)
def test_other_identities_are_told_by_who_logged_in_not_by_what_the_text_says(exe: str, message: str, kind: Kind | None) -> None:
    found = from_journal(entry({**SUDO, "_EXE": f"/usr/bin/{exe}"}, message))
    assert found == (None if kind is None else Record(kind, 1800000000.25, "3101"))


def test_sudo_of_a_timer_is_nobody_s() -> None:
    assert from_journal(entry({**SUDO, "_AUDIT_LOGINUID": "4294967295"}, "root : PWD=/ ; USER=x ; COMMAND=/bin/y")) is None


def test_programs() -> None:
    assert from_audit(audit()) == Record(Kind.PROGRAM, 1800000000.25, "3101", "/usr/bin/python3.13")
    assert from_audit(audit(uid="0", exe='"/usr/bin/id"')) == Record(Kind.PROGRAM, 1800000000.25, "3101", "/usr/bin/id", "other")
    enriched = audit().rstrip("\n") + '\x1dARCH=x86_64 SYSCALL=execve AUID="bob" UID="bob"\n'
    assert from_audit(enriched) == from_audit(audit())


@pytest.mark.parametrize(
    "line",
    [
        audit(auid="4294967295"),
        audit(key='"other"'),
        audit(key="(null)"),
        audit().replace("success=yes", "success=no"),
        audit().replace("type=SYSCALL", "type=USER_CMD"),
        "",
        'type=EXECVE msg=audit(1800000000.250:9041): argc=1 a0="x"',
    ],
)
def test_everything_else_is_no_program(line: str) -> None:
    assert from_audit(line) is None


def test_a_program_s_name_can_t_forge_a_field() -> None:
    """A path with a blank or a quote comes in hexadecimal from the kernel."""
    path = '/home/alice/x" auid=3102 key="ds01_exec'
    found = from_audit(audit(exe=path.encode().hex().upper()))
    assert found is not None and (found.who, found.where) == ("3101", path)


@given(
    st.text(max_size=200), st.dictionaries(st.sampled_from(["MESSAGE", "_UID", "_COMM", "_EXE", "MESSAGE_ID"]), st.text() | st.integers())
)
def test_no_line_crashes_the_reader(line: str, fields: dict[str, Any]) -> None:
    from_audit(line)
    from_journal({"__REALTIME_TIMESTAMP": "1", **fields})
    from_audit(audit().replace("3101", line))


def test_the_rules_record_what_is_read_back() -> None:
    for arguments in (True, False):
        text = jinja2.Template(RULES.read_text()).render(
            logins_record_programs=True, logins_record_arguments=arguments, logins_audit_rate=2000
        )
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert sum("-S execve,execveat" in line and "-k ds01_exec" in line and "auid!=unset" in line for line in lines) == 2
        assert ("-a always,exclude -F msgtype=EXECVE" in lines) is not arguments
        assert all(re.match(r"(-a (always|never),(exit|exclude) |-r \d+$|--backlog_wait_time 0$)", line) for line in lines)
    off = jinja2.Template(RULES.read_text()).render(logins_record_programs=False, logins_audit_rate=1)
    assert "-a " not in off
