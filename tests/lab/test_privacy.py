# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""People see their own home and processes only, and everything that has to see more still works."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.lab.server_access import Account, wait_until

AsUser = Callable[[str], Account]
SECRET = "sleep 3000.7311"


@pytest.fixture(autouse=True)
def secret(as_user: AsUser, lab: Account) -> Iterator[None]:
    as_user("student2").must(f"setsid -f {SECRET} >/dev/null 2>&1 </dev/null")
    wait_until("the process runs", lambda: lab.run(f"pgrep -f '^{SECRET}'").ok, 20)
    yield
    lab.run(f"pkill -f '^{SECRET}'")


def test_other_people_s_processes_are_not_there(as_user: AsUser, lab: Account) -> None:
    pid = lab.must(f"pgrep -o -f '^{SECRET}'")
    student1 = as_user("student1")
    assert SECRET not in student1.must("ps -ef")
    assert "No such file" in student1.run(f"ls /proc/{pid}").text
    assert not student1.run(f"cat /proc/{pid}/cmdline").ok and not student1.run(f"cat /proc/{pid}/environ").ok
    assert SECRET in as_user("student2").must("ps -ef"), "one's own processes are there"
    assert SECRET in as_user("admin1").must("sudo ps -ef")


def test_other_people_s_homes_are_closed(as_user: AsUser) -> None:
    as_user("student2").must("echo mine > ~/secret; chmod 0777 ~/secret")
    student1 = as_user("student1")
    assert "Permission denied" in student1.run("ls /home/student2").text
    assert not student1.run("cat /home/student2/secret").ok


def test_logins_have_sessions_and_nothing_failed(as_user: AsUser, lab: Account) -> None:
    session = as_user("student3").must("cat /proc/self/cgroup; loginctl show-user student3 --property=State")
    assert "user-3103.slice" in session and "State=active" in session
    assert lab.must("systemctl list-units --failed --no-legend --plain 'ds01*' 'systemd-logind*' 'polkit*'") == ""
    assert "hidepid=invisible" in lab.must("findmnt -no OPTIONS /proc")
