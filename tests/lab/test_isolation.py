# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""People and each other's containers, and the ways out of a container: tried as ordinary people, checked on the host."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

import pytest

from tests.lab.server_access import ROOT_DOCKER_SOCKET, Account

AsUser = Callable[[str], Account]
ROOT_DOCKER = f"docker -H unix://{ROOT_DOCKER_SOCKET}"


@pytest.fixture(scope="module")
def victim(as_user: AsUser, lab: Account, busybox: str) -> Iterator[str]:
    """student2's running container; its name."""
    as_user("student2").must(f"docker run -d --name secret-project {busybox} sleep 100000")
    yield "secret-project"
    lab.must(f"{ROOT_DOCKER} ps -aq --filter label=ds01.user | xargs -r {ROOT_DOCKER} rm -f")


def test_the_daemon_s_own_socket_is_root_s(as_user: AsUser) -> None:
    result = as_user("student1").run(f"docker -H unix://{ROOT_DOCKER_SOCKET} ps")
    assert not result.ok and "permission denied" in result.err.lower()


def test_other_people_s_containers_are_not_there(as_user: AsUser, lab: Account, victim: str) -> None:
    attacker = as_user("student1")
    assert victim not in attacker.must("docker ps -a")
    identity = lab.must(f"{ROOT_DOCKER} inspect -f '{{{{.Id}}}}' {victim}")
    for command in ("inspect", "logs", "stop -t 0", "kill", "start", "export -o /dev/null"):
        assert not attacker.run(f"docker {command} {victim}").ok, command
    assert not attacker.run(f"docker inspect {identity[:4]}").ok
    attacker.run(f"docker rm -f {victim} {identity}")
    for command in (
        f"exec {identity} id",
        f"cp {identity}:/etc/passwd -",
        f"commit {identity} stolen",
        f"rename {identity} mine",
        f"update --memory 6m {identity}",
    ):
        assert not attacker.run(f"docker {command}").ok, command
    assert lab.must(f"{ROOT_DOCKER} inspect -f '{{{{.State.Running}}}} {{{{.Name}}}}' {identity}") == f"true /{victim}"


def test_prune_takes_only_one_s_own(as_user: AsUser, lab: Account, busybox: str) -> None:
    as_user("student2").must(f"docker create --name keep-me {busybox} true")
    as_user("student1").must(f"docker create --name prune-me {busybox} true")
    as_user("student1").must("docker container prune -f")
    names = lab.must(f"{ROOT_DOCKER} ps -a --format '{{{{.Names}}}}'").split()
    assert "keep-me" in names and "prune-me" not in names


@pytest.mark.parametrize(
    "options",
    [
        "--privileged",
        "--cap-add SYS_ADMIN",
        "-v /:/host",
        "-v /etc:/m",
        "-v /home/student2:/m",
        "-v /run/docker-root:/m",
        "-v /run/docker.sock:/m",
        "--pid host",
        "--network host",
        "--ipc host",
        "--uts host",
        "--userns host",
        "--cgroupns host",
        "--device /dev/nvidia0",
        "--device /dev/vda",
        "--device-cgroup-rule 'a *:* rwm'",
        "--security-opt seccomp=unconfined",
        "--security-opt systempaths=unconfined",
        "--runtime runc",
        "--annotation org.systemd.property.TasksMax=infinity",
        "--mount type=bind,source=/etc,target=/m",
        "--volume-driver local --mount type=volume,target=/m,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/etc",
        "--device ds01.infra/gpu=c000000000000",
        "--group-add 42",
    ],
)
def test_a_way_out_is_refused(as_user: AsUser, busybox: str, options: str) -> None:
    result = as_user("student1").run(f"docker run --rm {options} {busybox} echo escaped")
    assert not result.ok, result.text
    assert "escaped" not in result.out
    assert "Traceback" not in result.text


def test_own_files_are_mounted_and_a_planted_setuid_file_is_worth_nothing(as_user: AsUser, lab: Account, busybox: str) -> None:
    student = as_user("student1")
    student.must("mkdir -p work && echo mine > work/file")
    assert student.must(f"docker run --rm -v ~/work:/w {busybox} cat /w/file") == "mine"
    student.must(
        f"docker run --rm -v ~/work:/w {busybox} sh -c {shlex.quote('cp /bin/busybox /w/id && chown 0:0 /w/id && chmod 4755 /w/id')}"
    )
    assert lab.must("stat -c '%u %a' /home/student1/work/id") == "0 4755"
    assert student.must("~/work/id -u") == "3101"


def test_a_directory_swapped_for_a_link_after_create_mounts_nothing(as_user: AsUser, busybox: str) -> None:
    student = as_user("student1")
    student.must("rm -rf trap && mkdir trap")
    student.must(f"docker create --name trap -v ~/trap:/w {busybox} ls /w")
    student.must("rmdir trap && ln -s /etc trap")
    result = student.run("docker start -a trap")
    student.run("docker rm -f trap; rm -f trap")
    assert "shadow" not in result.text and "passwd" not in result.text


@pytest.mark.parametrize("name", ["first.last", "248835@hertie-school.lan", "a.very-long-login-name-of-forty-letters.", "j.doe", "j_doe"])
def test_every_kind_of_name_works(as_user: AsUser, lab: Account, busybox: str, name: str) -> None:
    person = as_user(name)
    assert person.must(f"docker run --rm -v ~:/h --gpus all {busybox} sh -c 'touch /h/was-here; ls -d /dev/nvidia[0-9]*'").startswith(
        "/dev/nvidia"
    )
    assert person.must("ls was-here") == "was-here"
    assert name in person.must("ds01 limits")
