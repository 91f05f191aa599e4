# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""GPUs outside containers: denied in every session, open for those who are exempt, and closed again when that ends, without a converge."""

from __future__ import annotations

from collections.abc import Callable

from tests.lab.server_access import Account, wait_until

AsUser = Callable[[str], Account]
ALLOWED, DENIED = "No such device or address", "Operation not permitted"


def opens(account: Account) -> str:
    """What opening the first GPU says in a new login session of that account."""
    return account.new_session().run("cat /dev/nvidia0").err


def test_a_login_session_may_not_open_a_gpu(as_user: AsUser) -> None:
    assert DENIED in opens(as_user("student1"))
    assert DENIED in as_user("student1").run("cat /dev/nvidiactl").err


def test_sudo_does_not_leave_the_session(as_user: AsUser) -> None:
    assert DENIED in as_user("admin1").run("sudo cat /dev/nvidia0").err


def test_root_s_own_session_may(lab: Account) -> None:
    assert ALLOWED in lab.run("cat /dev/nvidia0").err


def test_an_exempt_person_may(as_user: AsUser) -> None:
    assert ALLOWED in opens(as_user("researcher2"))


def test_a_job_of_cron_may_not(lab: Account) -> None:
    lab.must("systemctl is-active cron >/dev/null 2>&1 || apt-get install -y -q cron >/dev/null 2>&1", limit_s=300)
    if lab.run("systemctl is-active cron").ok:
        lab.must("systemctl restart cron")
        assert "closed" in lab.must("systemctl show -p DevicePolicy cron.service")


def test_a_grant_opens_and_ends_by_itself(as_user: AsUser, lab: Account) -> None:
    person = as_user("researcher1")
    assert DENIED in opens(person)
    lab.must("ds01-fence grant researcher1 --for 40s --reason profiling")
    wait_until("the grant works", lambda: ALLOWED in person.run("cat /dev/nvidia0").err, 20)
    assert "researcher1" in lab.must("ds01-fence list")
    wait_until("the grant has ended", lambda: DENIED in person.run("cat /dev/nvidia0").err, 120)
    assert DENIED in opens(person)
    assert "researcher1" not in lab.must("ds01-fence list")


def test_a_grant_can_be_taken_back(as_user: AsUser, lab: Account) -> None:
    lab.must("ds01-fence grant researcher1 --for 1h --reason profiling")
    wait_until("the grant works", lambda: ALLOWED in as_user("researcher1").run("cat /dev/nvidia0").err, 20)
    lab.must("ds01-fence revoke researcher1")
    wait_until("it is taken back", lambda: DENIED in as_user("researcher1").run("cat /dev/nvidia0").err, 20)
