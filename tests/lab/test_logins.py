# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Who logged in, used sudo and started what is on record on a real server, also under another identity, and is summed up."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.lab.server_access import Account, Lab, wait_until

AsUser = Callable[[str], Account]


def person(lab: Account, user: str) -> dict[str, object]:
    told = json.loads(lab.must(f"ds01 logins --since 1h --user {user} --json"))
    assert told["problems"] == []
    return told["people"].get(user, {})  # type: ignore[no-any-return]


def test_a_login_and_a_program_are_on_record(server: Lab, lab: Account) -> None:
    server.as_user("student4").new_session().must("/usr/bin/od -c /dev/null")
    wait_until("the login is read back", lambda: person(lab, "student4").get("logins", 0) != 0, 60)
    found = person(lab, "student4")
    assert "publickey" in found["methods"] and "/usr/bin/od" in found["programs"]  # type: ignore[operator]


def test_sudo_is_told_by_the_person_behind_it(as_user: AsUser, lab: Account) -> None:
    as_user("admin1").must("sudo /usr/bin/cksum /etc/hostname")
    wait_until("sudo is read back", lambda: "/usr/bin/cksum" in str(person(lab, "admin1").get("programs_as_others")), 60)
    assert int(str(person(lab, "admin1")["used_other_identities"])) >= 1


def test_what_a_person_writes_into_the_journal_is_no_login(as_user: AsUser, lab: Account) -> None:
    as_user("student4").must("logger -t sshd 'Accepted publickey for student9 from 10.9.9.9 port 1 ssh2'")
    lab.must("journalctl --sync")
    assert "10.9.9.9" not in lab.must("ds01 logins --since 1h --json")


def test_the_summary_is_kept_and_people_can_t_read_it(as_user: AsUser, lab: Account) -> None:
    lab.must("ds01-logins --day $(date -u +%F)")
    assert "student4" in lab.must("cat /var/log/ds01/logins/$(date -u +%F).txt")
    assert not as_user("student4").run("cat /var/log/ds01/logins/*.txt /var/log/audit/audit.log").ok
    assert not as_user("student4").run("ds01 logins").ok
