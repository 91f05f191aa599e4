# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What is there again after a kill of the gate and after a reboot of the server. Last by name, because it ends everybody's containers."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.lab.server_access import ROOT_DOCKER_SOCKET, Account, Lab, wait_until

AsUser = Callable[[str], Account]
ROOT_DOCKER = f"docker -H unix://{ROOT_DOCKER_SOCKET}"


def _claims(lab: Account) -> list[dict]:  # type: ignore[type-arg]
    return json.loads(lab.must("ds01 claims --json"))["claims"]


def _layout(lab: Account) -> list[tuple]:  # type: ignore[type-arg]
    """The instances of every GPU by profile and place, without who uses them."""
    gpus = json.loads(lab.must("ds01-mig show --json"))["gpus"]
    return [(gpu["uuid"], gpu["mode"], [(one["profile"], one["start"]) for one in gpu["instances"]]) for gpu in gpus]


def test_killing_the_gate_in_the_middle_of_starts_leaks_nothing(as_user: AsUser, lab: Account, busybox: str) -> None:
    people = [as_user(f"student{n}") for n in range(11, 17)]
    starts = [person.start(f"docker run -d --name burst --gpus all {busybox} sleep 1000") for person in people]
    for _ in range(3):
        lab.must("systemctl kill -s KILL ds01-gate.service; sleep 2; systemctl is-active ds01-gate.socket")
    for start in starts:
        start.communicate(timeout=300)
    wait_until("the gate answers", lambda: lab.run("ds01 claims").ok, 60)
    running = lab.must(f"{ROOT_DOCKER} ps --no-trunc -q --filter label=ds01.claim").split()
    wait_until(
        "claims and running containers are the same", lambda: sorted(c["container_id"] for c in _claims(lab)) == sorted(running), 150
    )
    keys = [(device["gpu"], device["mig_uuid"]) for claim in _claims(lab) for device in claim["devices"]]
    assert len(set(keys)) == len(keys)
    lab.must(f"{ROOT_DOCKER} ps -aq --filter label=ds01.user | xargs -r {ROOT_DOCKER} rm -f")
    wait_until("all claims are gone", lambda: _claims(lab) == [], 60)


def test_after_a_reboot_everything_is_there_and_claims_are_gone(server: Lab, as_user: AsUser, lab: Account, busybox: str) -> None:
    as_user("student1").must(f"docker run -d --name gone --gpus all {busybox} sleep 100000")
    as_user("student2").must(f"docker run -d --restart unless-stopped --name back --gpus all {busybox} sleep 100000")
    before = _layout(lab)
    server.reboot()
    root = server.root
    wait_until("the boot is finished", lambda: root.run("systemctl is-system-running").out.strip() in ("running", "degraded"), 300)
    # A sweep that found dockerd still starting fails, and the next one is well.
    wait_until("nothing of ours has failed", lambda: not root.must("systemctl list-units --failed --no-legend 'ds01-*' 'docker*'"), 180, 3)
    assert _layout(root) == before
    assert "hidepid=invisible" in root.must("findmnt -no OPTIONS /proc")
    for unit in ("ds01-gate.socket", "ds01-splice.socket", "ds01-watch.service", "docker.service"):
        assert root.must(f"systemctl is-active {unit}") == "active"
    wait_until("the container with a restart policy has a GPU again", lambda: [c["container"] for c in _claims(root)] == ["back"], 120)
    assert "Operation not permitted" in server.as_user("student1").run("cat /dev/nvidia0").err
    nodes = server.as_user("student1").must(f"docker run --rm --gpus all {busybox} sh -c 'ls -d /dev/nvidia[0-9]*'")
    assert nodes in ("/dev/nvidia2", "/dev/nvidia3")
    assert root.must("cat /sys/fs/cgroup/ds01.slice/ds01-u3102.slice/memory.max") == str(512 * 1024**2)
