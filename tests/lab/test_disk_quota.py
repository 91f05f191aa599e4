# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Nobody fills the server's disks: homes by uid and by place, also past root of a container; layers of containers; people who are new."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.lab.server_access import ROOT_DOCKER_SOCKET, Account, wait_until

AsUser = Callable[[str], Account]
ROOT_DOCKER = f"docker -H unix://{ROOT_DOCKER_SOCKET}"
GIB = 1024**3
OVER = "fallocate -l 1200M"


@pytest.fixture(autouse=True)
def clean(lab: Account) -> Iterator[None]:
    yield
    lab.must(f"{ROOT_DOCKER} ps -aq --filter label=ds01.user | xargs -r {ROOT_DOCKER} rm -f; rm -f /home/student1/big*")


def use_of(lab: Account, user: str) -> dict[str, object]:
    people = json.loads(lab.must("ds01-quota list --json"))["people"]
    return next(person for person in people if person["user"] == user)


def test_a_home_takes_what_the_policy_gives_and_no_more(as_user: AsUser, lab: Account) -> None:
    student = as_user("student1")
    student.must("fallocate -l 100M ~/big")
    assert use_of(lab, "student1")["limit_bytes"] == GIB
    refused = student.run(f"{OVER} ~/big2")
    assert not refused.ok and ("Disk quota exceeded" in refused.text or "No space left" in refused.text), refused.text
    as_user("student2").must("fallocate -l 50M ~/big && rm ~/big")


def test_root_of_a_container_is_held_in_the_home_that_it_mounts(as_user: AsUser, lab: Account, busybox: str) -> None:
    refused = as_user("student1").run(f"docker run --rm -v /home/student1:/h {busybox} sh -c '{OVER} /h/big-root'")
    assert not refused.ok, refused.text
    assert int(lab.must("stat -c %s /home/student1/big-root 2>/dev/null || echo 0")) <= GIB


def test_root_of_a_container_can_t_leave_the_project(as_user: AsUser, lab: Account, busybox: str) -> None:
    """Root of a container owns what it makes there, and an owner may give a file another project: not through the guard."""
    student = as_user("student1")
    libraries = "/lib/x86_64-linux-gnu/libe2p.so.2 /lib/x86_64-linux-gnu/libcom_err.so.2 /lib/x86_64-linux-gnu/libc.so.6"
    student.must(f"mkdir -p leave && cp -L /usr/bin/chattr {libraries} /lib64/ld-linux-x86-64.so.2 leave/")
    escape = "touch /w/mine && /w/ld-linux-x86-64.so.2 --library-path /w /w/chattr -p 77 /w/mine"
    project = "lsattr -p /home/student1/leave/mine | awk '{print $1}'"
    refused = student.run(f"docker run --rm -v ~/leave:/w {busybox} sh -c '{escape}'")
    assert not refused.ok and "Operation not permitted" in refused.err, refused.text
    assert lab.must(project) == "2000003101"
    lab.must(f"{ROOT_DOCKER} run --rm --runtime runc -v /home/student1/leave:/w {busybox} sh -c '{escape}'")
    assert lab.must(project) == "77", "without the guard nothing keeps it: the refusal was the guard's"
    student.run("rm -rf leave")


def test_the_layer_of_a_container_is_held(as_user: AsUser, busybox: str) -> None:
    student = as_user("student1")
    student.must(f"docker run --rm {busybox} sh -c 'fallocate -l 50M /fits'")
    refused = student.run(f"docker run --rm {busybox} sh -c 'fallocate -l 300M /big'")
    assert not refused.ok, refused.text


def test_a_home_that_appears_is_held_at_once_and_an_old_file_is_counted(lab: Account) -> None:
    lab.must("rm -rf /home/late1; install -d -o 3777 -g 3777 -m 0700 /home/late1; useradd -M -u 3777 -d /home/late1 late1 || true")
    try:
        lab.must("systemctl start ds01-quota-refresh.service")
        wait_until("the newcomer is held", lambda: use_of(lab, "late1")["limit_bytes"] == GIB, 60)
    finally:
        lab.must("userdel late1; rm -rf /home/late1")


def test_the_server_says_what_each_filesystem_can(lab: Account) -> None:
    roots = json.loads(lab.must("ds01-quota list --json"))["roots"]
    assert [(r["directory"], r["filesystem"], r["enforced"]) for r in roots] == [("/home", "xfs", ["project", "user"])]
