# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The ground on which everything else stands: a real systemd, cgroup v2, Docker, people who log in, and quotas on the disk for homes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lab.server_access import Account

PEOPLE = {
    "student1": 3101,
    "student20": 3120,
    "first.last": 3401,
    "248835@hertie-school.lan": 3402,
    "a.very-long-login-name-of-forty-letters.": 3403,
    "j.doe": 3404,
    "j_doe": 3405,
}


def test_systemd_is_up_and_nothing_failed(lab: Account) -> None:
    assert lab.run("systemctl --failed --no-legend --plain").out == ""
    assert int(lab.must("systemctl --version").split()[1]) >= 257


def test_cgroups_are_of_the_second_version_with_the_controllers_that_limits_need(lab: Account) -> None:
    assert lab.must("stat -f -c %T /sys/fs/cgroup") == "cgroup2fs"
    assert {"cpu", "io", "memory", "pids"} <= set(lab.must("cat /sys/fs/cgroup/cgroup.controllers").split())


def test_docker_is_recent_enough_for_cdi_and_uses_systemd_slices(lab: Account) -> None:
    version, driver, cgroup = lab.must("docker info --format '{{.ServerVersion}} {{.CgroupDriver}} {{.CgroupVersion}}'").split()
    assert int(version.split(".")[0]) >= 26
    assert (driver, cgroup) == ("systemd", "2")


def test_a_container_runs_from_an_image_that_came_without_a_registry(lab: Account, busybox: str) -> None:
    assert lab.must(f"docker run --rm --network none {busybox} echo hello") == "hello"


@pytest.mark.parametrize(("name", "uid"), PEOPLE.items())
def test_a_person_logs_in_and_gets_a_session_in_her_slice(as_user: Callable[[str], Account], name: str, uid: int) -> None:
    person = as_user(name)
    assert person.must("id -un") == name
    assert person.must("cat /proc/self/cgroup").startswith(f"0::/user.slice/user-{uid}.slice/session-")
    assert person.must("pwd") == f"/home/{name}"


def test_a_new_session_is_another_one(as_user: Callable[[str], Account]) -> None:
    person = as_user("student2")
    assert person.must("cat /proc/self/cgroup") == person.must("cat /proc/self/cgroup")
    assert person.new_session().must("cat /proc/self/cgroup") != person.must("cat /proc/self/cgroup")


def test_the_command_is_completed_in_everybodys_shell(as_user: Callable[[str], Account]) -> None:
    loaded = "source /usr/share/bash-completion/completions/ds01"
    script = f"{loaded}; COMP_WORDS=(ds01 container sta); COMP_CWORD=2; _ds01; echo ${{COMPREPLY[*]}}"
    assert as_user("student1").must(f"bash -c '{script}'") == "stats start"


def test_the_clock_agrees_with_the_host(lab: Account) -> None:
    import time

    before = time.time()
    seen = float(lab.must("date +%s.%N"))
    assert before - 5 < seen < time.time() + 5


@pytest.mark.parametrize("path", ["/home", "/var/lib/docker"])
def test_project_quotas_are_enforced_on_the_disks_for_people_and_containers(lab: Account, path: str) -> None:
    probe = f"{path}/quota-probe"
    lab.must(f"mkdir -p {probe} && xfs_quota -x -c 'project -s -p {probe} 4242' -c 'limit -p bhard=8m 4242' {path}")
    try:
        written = lab.run(f"dd if=/dev/zero of={probe}/data bs=1M count=16 conv=fsync")
        assert not written.ok
        assert "No space left" in written.err or "Disk quota exceeded" in written.err
        assert int(lab.must(f"stat -c %s {probe}/data")) <= 8 * 1024**2
    finally:
        lab.must(f"rm -rf {probe}; xfs_quota -x -c 'limit -p bhard=0 4242' {path}")


def test_the_package_mirror_is_reached_from_the_server(lab: Account) -> None:
    lab.must("apt-get update -q", limit_s=300)
    assert lab.must("apt-cache policy docker.io | awk '/Candidate/ {print $2}'").startswith("26.")
