# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whatever uses a GPU is in the inventory, told apart and attributed, whoever started it and with whichever engine.

The server itself measures how long that takes, so that a connection's time does not count.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.server_access import ROOT_DOCKER_SOCKET, Account, Lab, wait_until

AsUser = Callable[[str], Account]
ROOT_DOCKER = f"docker -H unix://{ROOT_DOCKER_SOCKET}"
AROUND = "--runtime runc --cgroup-parent system.slice --network none"
GPU = "--device /dev/nvidia0 --device /dev/nvidiactl"
CONTAINER_GOAL_S, PROCESS_GOAL_S = 2, 10
EMULATION = 5
"""Software emulation makes every process start about this many times slower; the goals are for a machine that is not emulated."""

_WATCH_FOR = Path(__file__).with_name("seconds_until_listed.py").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def nothing_left(lab: Account) -> Iterator[None]:
    """No workload outlives its test."""
    yield
    lab.run("podman rm -f -t 0 --all; ctr -n lab tasks kill -s 9 nine; ctr -n lab tasks rm -f nine; ctr -n lab containers rm nine")
    lab.must(f"{ROOT_DOCKER} ps -aq | xargs -r {ROOT_DOCKER} rm -f")


def seen(lab: Account, started: str, name: str) -> tuple[dict[str, Any], float]:
    """Run a command line as root that starts a workload; the workload of that name (or pid) and the seconds until it was listed."""
    out = lab.must(f"python3 - {shlex.quote(started)} {shlex.quote(name)}", stdin=_WATCH_FOR, limit_s=300)
    found = json.loads(out.splitlines()[-1])
    print(f"{name}: {found['workload']['kind']} after {found['seconds']:.2f} s")
    return found["workload"], found["seconds"]


@pytest.mark.parametrize(
    ("name", "options", "kind", "access"),
    [
        ("raw", f"{AROUND} {GPU}", "raw", "devices"),
        ("strong", f"{AROUND} --privileged", "raw", "privileged"),
        ("ruled", f"{AROUND} --device-cgroup-rule 'c 195:* rmw'", "raw", "devices"),
        ("composed", f"{AROUND} {GPU} --label com.docker.compose.project=p --label com.docker.compose.service=s", "compose", "devices"),
        ("developed", f"{AROUND} {GPU} --label devcontainer.local_folder=/home/student3/x", "devcontainer", "devices"),
    ],
)
def test_a_container_past_the_gate_is_seen_at_once(lab: Account, busybox: str, name: str, options: str, kind: str, access: str) -> None:
    found, seconds = seen(lab, f"{ROOT_DOCKER} run -d --name {name} {options} {busybox} sleep 1000", name)
    assert (found["kind"], found["access_by"], found["tracked"]) == (kind, access, False), found
    assert seconds < CONTAINER_GOAL_S * EMULATION


def test_what_people_start_through_the_gate_is_told_apart(as_user: AsUser, lab: Account, busybox: str) -> None:
    student = as_user("student2")
    service = {"image": busybox, "command": "sleep 1000", "deploy": {"resources": {"reservations": {"devices": [_GPU_OF_COMPOSE]}}}}
    student.must("mkdir -p seen && cat > seen/compose.yaml", stdin=json.dumps({"services": {"job": service}}))
    student.must("cd seen && docker compose up -d 2>&1", limit_s=300)
    as_user("student3").must(f"docker run -d --name dev --gpus all --label devcontainer.local_folder=/home/student3/x {busybox} sleep 1000")
    body = json.dumps({"Image": busybox, "Cmd": ["sleep", "1000"], "HostConfig": {"DeviceRequests": [_GPU_OF_API]}})
    as_user("student4").must(f"python3 - {shlex.quote(body)}", stdin=_WITHOUT_LABELS)
    expected = {"student2": "compose", "student3": "devcontainer", "student4": "docker"}
    by_user = wait_until(
        "all three are in the inventory",
        lambda: (lambda found: found if found == expected else None)(
            {one["user"]: one["origin"] for one in json.loads(lab.must("ds01 workloads --json"))["workloads"]}
        ),
        60,
    )
    assert by_user == expected


def test_podman_is_another_engine_that_is_seen(server: Lab, lab: Account, busybox: str) -> None:
    lab.must(f"{ROOT_DOCKER} save {busybox} | podman load -q", limit_s=300)
    start = f"podman run -d --name pod --network none {GPU} localhost/{busybox} sleep 1000"
    found, seconds = seen(lab, start, "pod")
    assert (found["kind"], found["origin"], found["tracked"]) == ("other-engine", "podman", False), found
    assert seconds < CONTAINER_GOAL_S * EMULATION
    assert "pod" in lab.must("ds01 workloads")
    lab.must("podman rm -f -t 0 pod")
    wait_until("its end is in the inventory", lambda: "pod" not in lab.must("ds01 workloads"), 60)


def test_another_namespace_of_containerd_is_seen(lab: Account, busybox: str) -> None:
    lab.must(f"{ROOT_DOCKER} save {busybox} | ctr -n lab images import -", limit_s=300)
    image = lab.must("ctr -n lab images ls -q").splitlines()[0]
    found, seconds = seen(lab, f"ctr -n lab run -d --privileged --with-ns network:/proc/1/ns/net {image} nine sleep 1000", "nine")
    assert (found["kind"], found["origin"]) == ("other-engine", "containerd"), found
    assert seconds < CONTAINER_GOAL_S * EMULATION


def test_a_person_s_own_podman_opens_no_gpu(as_user: AsUser, lab: Account) -> None:
    """Without root it runs in the person's session: whatever it is told, the kernel says no, and a process of it would be the person's."""
    result = as_user("student1").run("podman unshare sh -c 'cat /dev/nvidia0; cat /dev/nvidia2'")
    assert "Operation not permitted" in result.err and "No such device or address" not in result.err, result.text


def test_a_bare_process_is_seen_whatever_it_calls_itself(as_user: AsUser, lab: Account) -> None:
    running = as_user("student4").start("cp /bin/sleep ./nvidia-smi && exec ./nvidia-smi 900")
    try:
        pid = wait_until("the program runs", lambda: lab.run("pgrep -u student4 -x nvidia-smi").out.split(), 30)[0]
        found, seconds = seen(lab, f"ds01-gpusim add-process --gpu 0 --pid {pid} --memory 1GiB", pid)
        assert (found["kind"], found["user"]) == ("host", "student4"), found
        assert seconds < PROCESS_GOAL_S * EMULATION
    finally:
        lab.run("pkill -u student4 -x nvidia-smi")
        running.kill()


_GPU_OF_COMPOSE = {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
_GPU_OF_API = {"Driver": "", "Count": 1, "Capabilities": [["gpu"]]}
_WITHOUT_LABELS = """\
import http.client, json, socket, sys

class Engine(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/run/docker.sock")

def ask(path, body=None):
    engine = Engine("engine")
    engine.request("POST", path, body, {"Content-Type": "application/json"})
    answer = engine.getresponse()
    text = answer.read().decode()
    assert answer.status < 300, text
    return text

made = json.loads(ask("/v1.43/containers/create", sys.argv[1]))
ask(f"/v1.43/containers/{made['Id']}/start")
"""
