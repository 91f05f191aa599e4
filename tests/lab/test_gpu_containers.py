# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A person's plain ``docker run --gpus all`` gets exactly one GPU device, the kernel lets it reach no other, and it is free afterwards.

Opening a simulated node says ENXIO where the kernel allows it and EPERM where it does not.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator

import pytest

from tests.lab.server_access import ROOT_DOCKER_SOCKET, Account, wait_until

AsUser = Callable[[str], Account]
ROOT_DOCKER = f"docker -H unix://{ROOT_DOCKER_SOCKET}"
ALLOWED, DENIED = "No such device or address", "Operation not permitted"


def claims(lab: Account) -> list[dict]:  # type: ignore[type-arg]
    """Every claim, as an admin sees them."""
    return json.loads(lab.must("ds01 claims --json"))["claims"]


def probe(*nodes: str) -> str:
    """A shell line that says for each node what opening it gives."""
    script = "; ".join(f"cat {node} >/dev/null" for node in nodes)
    return f"sh -c {shlex.quote(script + '; true')}"


@pytest.fixture(autouse=True)
def nothing_held(lab: Account) -> Iterator[None]:
    """Every test begins and ends with all GPUs free and no container of a person left."""
    yield
    lab.must(f"{ROOT_DOCKER} ps -aq --filter label=ds01.user | xargs -r {ROOT_DOCKER} rm -f")
    wait_until("all claims are gone", lambda: claims(lab) == [], 30)


def test_a_student_gets_exactly_one_mig_instance_and_nothing_else(as_user: AsUser, lab: Account, busybox: str) -> None:
    student = as_user("student1")
    nodes = student.must(f"docker run --rm --gpus all {busybox} sh -c 'ls -1d /dev/nvidia* /dev/nvidia-caps/*'").split()
    gpus = [node for node in nodes if node.removeprefix("/dev/nvidia").isdigit()]
    caps = [node for node in nodes if node.startswith("/dev/nvidia-caps/")]
    assert gpus in (["/dev/nvidia2"], ["/dev/nvidia3"]), nodes
    assert len(caps) == 2, nodes
    assert "/dev/nvidiactl" in nodes
    assert claims(lab) == []


def test_the_kernel_denies_every_other_gpu_even_to_root_with_a_node_of_its_own(as_user: AsUser, busybox: str) -> None:
    script = "mknod /tmp/n0 c 195 0; cat /tmp/n0; cat /dev/nvidia[23]; true"
    result = as_user("student1").run(f"docker run --rm --gpus all {busybox} sh -c {shlex.quote(script)}")
    assert "/tmp/n0" in result.err and DENIED in result.err, result.text
    lines = [line for line in result.err.splitlines() if "/dev/nvidia" in line]
    assert lines and all(ALLOWED in line for line in lines), result.text


def test_without_asking_there_is_no_gpu(as_user: AsUser, busybox: str) -> None:
    script = "ls /dev; mknod /tmp/n0 c 195 0; cat /tmp/n0; true"
    result = as_user("student1").run(f"docker run --rm {busybox} sh -c {shlex.quote(script)}")
    assert "nvidia" not in result.out
    assert DENIED in result.err and ALLOWED not in result.err, result.text


def test_the_claim_is_the_record_while_the_container_runs_and_gone_after(as_user: AsUser, lab: Account, busybox: str) -> None:
    student = as_user("student1")
    student.must(f"docker run -d --name train --gpus all {busybox} sleep 1000")
    (claim,) = claims(lab)
    assert (claim["user"], claim["container"], claim["held_until"]) == ("student1", "train", None)
    assert lab.must("ls /run/cdi") == f"ds01-{claim['id']}.json"
    path = lab.must(f"cat /proc/$({ROOT_DOCKER} inspect -f '{{{{.State.Pid}}}}' train)/cgroup")
    assert f"/ds01.slice/ds01-u3101.slice/ds01-u3101-{claim['id']}.slice/" in path
    assert "1 of" not in student.must("ds01 claims")
    assert "you: train" in student.must("ds01 status")
    student.must("docker rm -f train")
    wait_until("the claim is gone", lambda: claims(lab) == [], 10)
    wait_until("its slice is gone", lambda: not lab.run(f"systemctl is-active ds01-u3101-{claim['id']}.slice").ok, 10)


def test_a_stopped_container_is_held_and_finds_a_gpu_when_it_starts_again(as_user: AsUser, lab: Account, busybox: str) -> None:
    student = as_user("student1")
    student.must(f"docker run -d --name again --gpus all {busybox} sleep 1000")
    student.must("docker stop -t 0 again")
    wait_until("it is held", lambda: claims(lab)[0]["held_until"] is not None, 10)
    student.must("docker start again")
    assert claims(lab)[0]["held_until"] is None
    assert student.must("docker exec again sh -c 'ls -d /dev/nvidia[0-9]*'").count("/dev/nvidia") == 1


def test_over_quota_is_refused_with_why_and_what_next(as_user: AsUser, busybox: str) -> None:
    student = as_user("student1")
    refused = student.run(f"docker run --rm --gpus 2 {busybox} true")
    assert not refused.ok
    assert "Traceback" not in refused.text
    assert "2 devices are more than the 1" in refused.err
    assert "Use --gpus 1" in refused.err
    full = student.run(f"docker run --rm --label ds01.gpu=full --gpus all {busybox} true")
    assert not full.ok and "full" in full.err.lower(), full.text


def test_a_researcher_gets_a_whole_gpu_on_request(as_user: AsUser, busybox: str) -> None:
    nodes = as_user("researcher1").must(
        f"docker run --rm --label ds01.gpu=full --gpus all {busybox} sh -c 'ls -d /dev/nvidia[0-9]*; ls /dev/nvidia-caps 2>/dev/null; true'"
    )
    assert nodes in ("/dev/nvidia0", "/dev/nvidia1"), nodes


def test_compose_gets_a_gpu_too(as_user: AsUser, lab: Account, busybox: str) -> None:
    student = as_user("student3")
    compose = {
        "services": {
            "job": {
                "image": busybox,
                "command": "sh -c 'ls -d /dev/nvidia[0-9]*'",
                "deploy": {"resources": {"reservations": {"devices": [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]}}},
            }
        }
    }
    student.must("mkdir -p project && cat > project/compose.yaml", stdin=json.dumps(compose))
    out = student.must("cd project && docker compose up --no-color 2>&1 && docker compose down 2>&1", limit_s=300)
    assert "/dev/nvidia" in out
    assert claims(lab) == []


def test_twenty_people_at_once_share_eight_instances(as_user: AsUser, lab: Account, busybox: str) -> None:
    people = [as_user(f"student{n}") for n in range(1, 21)]
    running = [person.start(f"docker run -d --name crowd-{person.user} --gpus 1 {busybox} sleep 1000") for person in people]
    results = [(*process.communicate(timeout=600), process.returncode) for process in running]
    granted = [person.user for person, (_, _, code) in zip(people, results, strict=True) if code == 0]
    held = claims(lab)
    assert len(granted) == 8, [err for _, err, code in results if code]
    assert sorted(claim["user"] for claim in held) == sorted(granted)
    keys = [(device["gpu"], device["mig_uuid"]) for claim in held for device in claim["devices"]]
    assert len(set(keys)) == 8
    assert "Traceback" not in "".join(err for _, err, _ in results)
