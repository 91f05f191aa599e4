# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Limits of a person as the kernel has them, and what happens to those who exceed them while the others live on."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

import pytest

from tests.lab.server_access import ROOT_DOCKER_SOCKET, Account, wait_until

AsUser = Callable[[str], Account]
ROOT_DOCKER = f"docker -H unix://{ROOT_DOCKER_SOCKET}"
SLICE = "/sys/fs/cgroup/ds01.slice/ds01-u3101.slice"


@pytest.fixture(autouse=True)
def clean(lab: Account) -> Iterator[None]:
    yield
    lab.must(f"{ROOT_DOCKER} ps -aq --filter label=ds01.user | xargs -r {ROOT_DOCKER} rm -f")


def test_the_aggregate_is_in_the_kernel(as_user: AsUser, lab: Account, busybox: str) -> None:
    as_user("student1").must(f"docker run -d {busybox} sleep 1000")
    assert lab.must(f"cat {SLICE}/cpu.max") == "150000 100000"
    assert lab.must(f"cat {SLICE}/memory.max") == str(512 * 1024**2)
    assert lab.must(f"cat {SLICE}/memory.high") == str(460 * 1024**2)
    assert lab.must(f"cat {SLICE}/pids.max") == "256"
    assert "wbps=8388608" in lab.must(f"cat {SLICE}/io.max")
    assert "some" in lab.must(f"cat {SLICE}/memory.pressure")


def test_a_memory_hog_is_killed_and_other_people_s_containers_live(as_user: AsUser, lab: Account, busybox: str) -> None:
    as_user("student2").must(f"docker run -d --name bystander {busybox} sleep 1000")
    hog = as_user("student1").run(
        f"docker run --name hog {busybox} sh -c {shlex.quote('dd if=/dev/zero of=/dev/null bs=400M count=1; echo alive $?')}"
    )
    assert "alive 137" in hog.out or hog.code == 137, hog.text
    assert lab.must(f"{ROOT_DOCKER} inspect -f '{{{{.State.Running}}}}' bystander") == "true"


def test_processes_are_limited(as_user: AsUser, busybox: str) -> None:
    bomb = "i=0; while [ $i -lt 200 ]; do sleep 5 & i=$((i+1)); done; wait"
    result = as_user("student1").run(f"docker run --rm {busybox} sh -c {shlex.quote(bomb)}")
    assert "fork" in result.err.lower(), result.text


def test_asking_for_more_gives_what_policy_allows(as_user: AsUser, lab: Account, busybox: str) -> None:
    as_user("student1").must(f"docker run -d --name greedy -m 64g --cpus 32 --pids-limit -1 --shm-size 8g {busybox} sleep 1000")
    form = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.ShmSize}}"
    memory, cpus, pids, shm = map(int, lab.must(f"{ROOT_DOCKER} inspect -f '{form}' greedy").split())
    assert memory <= 256 * 1024**2
    assert cpus <= 10**9
    assert 0 < pids <= 128
    assert shm <= 32 * 1024**2


def test_limits_can_be_seen_with_the_rule_that_set_them(as_user: AsUser) -> None:
    text = as_user("first.last").must("ds01 limits")
    assert "container.count" in text and "6" in text
    assert 'users["first.last"]' in text


def test_everything_of_a_person_is_in_their_slice(as_user: AsUser, lab: Account, busybox: str) -> None:
    student = as_user("student1")
    student.must(f"docker run -d --name first {busybox} sleep 1000")
    student.must(f"docker run -d --name second --gpus all --cgroup-parent system.slice {busybox} sleep 1000")
    for name in ("first", "second"):
        path = lab.must(f"cat /proc/$({ROOT_DOCKER} inspect -f '{{{{.State.Pid}}}}' {name})/cgroup")
        assert path.startswith("0::/ds01.slice/ds01-u3101.slice/"), path
    wait_until("the kernel counts both", lambda: int(lab.must(f"cat {SLICE}/pids.current")) >= 2, 10)
