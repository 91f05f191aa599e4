# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Containers made on root's socket as the tools of before made them, and a real daemon: whose they are, what labels can't open."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from ds01.docker_upstream import DockerClient
from tests.integration.daemons import wait_until
from tests.integration.gate.gate_process import REPOSITORY
from tests.integration.gate.people import Desk

V = "/v1.45/containers"


def old(root: DockerClient, name: str, labels: dict[str, str] | None = None, host: dict[str, Any] | None = None) -> str:
    """A container that did not come through the gate."""
    body = {"Image": "busybox", "Cmd": ["sleep", "600"], "Labels": labels or {}, "HostConfig": host or {}}
    return str(root.call("POST", f"/containers/create?name={name}", body)["Id"])


@pytest.mark.both
def test_an_old_container_works_for_its_owner_alone(alice: Desk, bob: Desk, root: DockerClient) -> None:
    train = old(root, "train._.5001")
    marked = old(root, "marked", {"aime.mlc.USER": "alice"})
    contradicting = old(root, "mixed._.5002", {"aime.mlc.USER": "alice"})
    bob.must("create", "--name", "bobs", "busybox")
    wait_until(lambda: len(alice.must("ps", "-aq").split()) == 2, 40, "that the gate knows of the containers made behind it")
    assert sorted(alice.must("ps", "-a", "--no-trunc", "--format", "{{.ID}}").split()) == sorted([train, marked])
    assert alice.must("ps", "-aq", "--filter", "name=marked") == marked[:12]
    assert bob.must("ps", "-a", "--format", "{{.Names}}") == "bobs"
    alice.must("start", "train._.5001")
    assert alice.must("exec", "train._.5001", "echo", "in") == "in"
    assert alice.must("inspect", "-f", "{{.State.Running}}", train) == "true"
    for identity in (train, marked, contradicting):
        for action in ("start", "stop", "exec", "restart"):
            assert bob.ask("POST", f"{V}/{identity}/{action}", {"Cmd": ["id"]} if action == "exec" else None).status == 404
        assert bob.ask("GET", f"{V}/{identity}/json").status == 404
    assert alice.ask("GET", f"{V}/{contradicting}/json").status == 404
    alice.must("rm", "-f", "train._.5001", "marked")
    assert root.call("GET", f"/containers/{contradicting}/json")["State"]["Running"] is False


@pytest.mark.both
@pytest.mark.parametrize("labels", [{"aime.mlc.USER": "alice"}, {"ds01.user": "alice", "ds01.uid": "5001"}], ids=["old", "forged"])
def test_no_label_opens_the_host(alice: Desk, root: DockerClient, labels: dict[str, str]) -> None:
    """Made before the gate by somebody who had Docker's socket, and started after it."""
    assert alice.person is not None
    secret = alice.lab.path / "secret-of-the-host"
    secret.write_text("root's")
    root.call("POST", "/volumes/create", {"Name": "evil", "Labels": labels, "DriverOpts": {"type": "none", "o": "bind", "device": "/"}})
    reaching: list[dict[str, Any]] = [
        {"Privileged": True},
        {"PidMode": "host"},
        {"CapAdd": ["SYS_ADMIN"]},
        {"Binds": ["/:/m"]},
        {"Binds": ["evil:/m"]},
        {"Binds": [f"{alice.person.home}:/m"]},
    ]
    for number, host in enumerate(reaching):
        identity = old(root, f"reach{number}", labels, {**host, "CgroupParent": "ds01-u5001-nogpu.slice" if "ds01.uid" in labels else ""})
        reply = alice.ask("POST", f"{V}/{identity}/start")
        assert (reply.status, "was not made through this gate" in reply.message) == (403, True), host
        if "Binds" in host:
            assert alice.ask("GET", f"{V}/{identity}/archive?path=/m{secret}").status == 403, host
        assert root.call("GET", f"/containers/{identity}/json")["State"]["Status"] == "created"
    running = old(root, "running", labels, {"Privileged": True})
    root.call("POST", f"/containers/{running}/start")
    assert alice.ask("POST", f"{V}/{running}/exec", {"Cmd": ["id"]}).status == 403
    assert json.loads(alice.must("inspect", running))[0]["ExecIDs"] is None
    alice.must("stop", "-t", "0", running)


@pytest.mark.both
def test_what_the_gate_makes_passes_its_own_look(alice: Desk) -> None:
    assert alice.person is not None
    alice.must("volume", "create", "data")
    options = ("-v", f"{alice.person.home}:/w", "-v", "data:/d", "-v", "/anonymous", "--tmpfs", "/t", "--init")
    alice.must("run", "-d", "--name", "full", "--gpus", "1", *options, "busybox", "sleep", "600")
    for step in (("restart", "-t", "0", "full"), ("stop", "-t", "0", "full"), ("start", "full"), ("exec", "full", "true")):
        alice.must(*step)
    alice.must("cp", "/etc/hostname", "full:/tmp/x")


_MODULE = """
import json, sys
from tests import conftest
from ansible_collections.ds01.infra.plugins.modules import legacy_containers
from tests.unit.modules.module_runs import run_module
options, check = json.loads(sys.argv[1])
outcome = run_module(legacy_containers, options, check=check)
print(json.dumps({"failed": outcome.failed, **outcome.result}))
"""


def carried_over(desk: Desk, *names: str, check: bool = False) -> dict[str, Any]:
    """The module's result, run with the lab's accounts."""
    gate = desk.gate
    options = {
        "carry_over": list(names),
        "docker_socket": str(gate.daemon.socket),
        "gate_socket": str(gate.socket),
        "policy": str(gate.state / "policy.json"),
    }
    command = gate.lab.with_accounts(sys.executable, "-c", _MODULE, json.dumps([options, check]))
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_container_is_carried_over_with_its_files(alice: Desk, bob: Desk, root: DockerClient) -> None:
    assert alice.person is not None
    (alice.person.home / "kept").write_text("in the home")
    host = {"Binds": [f"{alice.person.home}:/workspace", "/etc:/e"], "Privileged": True, "DeviceRequests": []}
    identity = old(root, "train._.5001", None, host)
    root.call("POST", f"/containers/{identity}/start")
    made = root.call("POST", f"/containers/{identity}/exec", {"Cmd": ["sh", "-c", "echo work > /done"]})["Id"]
    root.call("POST", f"/exec/{made}/start", {})
    wait_until(lambda: not root.call("GET", f"/exec/{made}/json")["Running"], 10, "end of the work")

    assert "it runs" in carried_over(alice, "train._.5001")["msg"]
    root.call("POST", f"/containers/{identity}/stop?t=0")
    shown = carried_over(alice)
    assert (shown["changed"], shown["containers"][0]["user"], shown["containers"][0]["there"]) == (False, "alice", False)
    assert any("--privileged" in words for words in shown["containers"][0]["left_out"])
    assert any("/etc" in words for words in shown["containers"][0]["left_out"])
    assert carried_over(alice, "all", check=True)["changed"]
    assert carried_over(alice)["containers"][0]["there"] is False
    assert carried_over(alice, "train._.5001")["changed"]
    assert not carried_over(alice, "train._.5001")["changed"]
    assert not carried_over(alice, "all")["changed"]

    alice.must("start", "train")
    assert alice.must("exec", "train", "cat", "/done", "/workspace/kept") == "work\nin the home"
    assert alice.must("exec", "train", "ls", "/e") == ""
    assert root.call("GET", "/containers/train/json")["HostConfig"]["Privileged"] is False
    assert bob.docker("run", "--rm", "alice/train:before-gate", "cat", "/done").returncode == 125
    assert root.call("GET", f"/containers/{identity}/json")["State"]["Status"] == "exited"
    assert "no container of before the gate" in carried_over(alice, "bobs")["msg"]
