# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""GPU claims with simulated GPUs: one container, one claim, from the start to the end, however that comes and whoever dies on the way."""

from __future__ import annotations

import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ds01.docker_upstream import DockerClient
from tests.integration.daemons import wait_until
from tests.integration.gate.conftest import FULL, STUDENTS
from tests.integration.gate.gate_process import GPUS, GateProcess, gate_before
from tests.integration.gate.people import Desk, Wire
from tests.integration.lab import Person

V = "/v1.45"
NODES = ("sh", "-c", "ls /dev/nvidia* 2>/dev/null")
SLEEP = ("busybox", "sleep", "600")


def claims(gate: GateProcess) -> dict[str, set[str]]:
    """Container id → device nodes, of every claim there is."""
    found = {}
    for path in gate.daemon.cdi_dir.glob("ds01-*.json"):
        try:
            spec = json.loads(path.read_text())
        except FileNotFoundError:
            continue
        claim = json.loads(next(iter(spec["annotations"].values())))
        found[claim["container_id"]] = {node["path"] for node in spec["devices"][0]["containerEdits"]["deviceNodes"]}
    return found


def no_claims(gate: GateProcess) -> None:
    """Wait until nobody holds anything."""
    wait_until(lambda: not claims(gate), 15, "the end of all claims")


@pytest.mark.parametrize(
    "asked", [("--gpus", "all"), ("--gpus", "1"), ("--gpus", "2"), ("--device", "nvidia.com/gpu=all"), ("-e", "NVIDIA_VISIBLE_DEVICES=all")]
)
@pytest.mark.both
def test_what_is_asked_for_becomes_one_claim(alice: Desk, asked: tuple[str, str]) -> None:
    nodes = alice.must("run", "--rm", *asked, "busybox", *NODES).split()
    assert len(nodes) == (2 if asked[1] == "2" else 1)
    no_claims(alice.gate)


@pytest.mark.parametrize("asked", [("-e", "NVIDIA_VISIBLE_DEVICES=void"), ()])
def test_without_a_request_there_is_no_gpu(alice: Desk, asked: tuple[str, ...]) -> None:
    assert alice.docker("run", "--rm", *asked, "busybox", *NODES).stdout == ""


@pytest.mark.parametrize(
    "asked", [("--privileged",), ("--device", "/dev/null"), ("--device-cgroup-rule", "c 195:* rwm"), ("--runtime", "nvidia")]
)
def test_ways_around_a_claim(alice: Desk, asked: tuple[str, ...]) -> None:
    assert alice.docker("run", "--rm", *asked, "busybox", "true").returncode == 125


def test_more_than_a_container_may_have_is_refused_and_leaves_nothing(alice: Desk) -> None:
    done = alice.docker("run", "--rm", "--gpus", "5", "busybox", "true")
    assert done.returncode == 125
    assert "5" in done.stderr
    assert claims(alice.gate) == {}


@pytest.mark.parametrize("end", [("stop", "-t", "0"), ("kill",), ("rm", "-f")])
@pytest.mark.both
def test_every_end_ends_the_claim(alice: Desk, end: tuple[str, ...]) -> None:
    identity = alice.must("run", "-d", "--gpus", "1", "--name", "job", *SLEEP)
    assert set(claims(alice.gate)) == {identity}
    alice.must(*end, "job")
    no_claims(alice.gate)


def test_an_out_of_memory_kill_ends_the_claim(alice: Desk) -> None:
    hungry = ("busybox", "sh", "-c", "x=a; while :; do x=$x$x; done")
    alice.docker("run", "--gpus", "1", "--memory", "16m", "--name", "hungry", *hungry)
    assert alice.must("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "hungry").endswith("137")
    no_claims(alice.gate)


@pytest.mark.both
def test_a_stopped_container_gets_a_gpu_again(alice: Desk, bob: Desk) -> None:
    """Its device may be somebody else's by then: the claim is bound at the start."""
    alice.must("run", "-d", "--gpus", "1", "--name", "job", *SLEEP)
    alice.must("stop", "-t", "0", "job")
    no_claims(alice.gate)
    bob.must("run", "-d", "--gpus", "1", *SLEEP)
    alice.must("start", "job")
    assert alice.must("exec", "job", *NODES) == "/dev/nvidia1"
    alice.must("restart", "-t", "0", "job")
    held = list(claims(alice.gate).values())
    assert len(held) == 2
    assert not held[0] & held[1]


def test_a_start_that_fails_gives_the_claim_back(alice: Desk) -> None:
    done = alice.docker("run", "--gpus", "1", "--name", "broken", "busybox", "/no/such/program")
    assert done.returncode == 127
    no_claims(alice.gate)


def test_a_refused_start_of_a_short_lived_container_removes_it(alice: Desk, bob: Desk) -> None:
    """As dockerd does with --rm when a start fails: the CLI waits for the removal."""
    for n in range(4):
        bob.must("run", "-d", "--gpus", "2", "--name", f"full{n}", *SLEEP)
    done = alice.docker("run", "--rm", "--gpus", "1", "busybox", "true", seconds=30)
    assert done.returncode == 125
    assert alice.must("ps", "-aq") == ""
    status = alice.ask("GET", "/ds01/v1/status").json
    assert {gpu["state"] for gpu in status["gpus"]} == {"busy"}
    assert "bob" not in json.dumps(status)
    assert len(bob.ask("GET", "/ds01/v1/claims").json["claims"]) == 4


@pytest.mark.both
def test_twenty_people_want_eight_gpus(gate: GateProcess, people: dict[str, Person]) -> None:
    """Three rounds (ten in a full run): eight get one each, no two the same, none stays idle, none is leaked."""
    desks = [Desk(gate, people[f"s{n}"]) for n in range(STUDENTS)]
    body = {"Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": {"DeviceRequests": [{"Count": 1, "Capabilities": [["gpu"]]}]}}

    identities = [desk.ask("POST", f"{V}/containers/create", body).json["Id"] for desk in desks]
    for _ in range(10 if FULL else 3):
        wires = [desk.wire() for desk in desks]
        barrier = threading.Barrier(STUDENTS)

        def start(index: int, wires: list[Wire] = wires, barrier: threading.Barrier = barrier) -> int:
            wire = wires[index]
            barrier.wait()
            wire.send(f"POST {V}/containers/{identities[index]}/start HTTP/1.1\r\nHost: d\r\n\r\n".encode())
            status = wire.reply().status
            wire.close()
            return status

        with ThreadPoolExecutor(STUDENTS) as pool:
            statuses = list(pool.map(start, range(STUDENTS)))
        held = claims(gate)
        assert sorted(set(statuses) - {204}) != [] or STUDENTS <= GPUS
        assert statuses.count(204) == GPUS
        assert len(held) == GPUS
        assert len(set().union(*held.values())) == GPUS
        for index, status in enumerate(statuses):
            if status == 204:
                desks[index].ask("POST", f"{V}/containers/{identities[index]}/kill")
        no_claims(gate)


def _running(root: DockerClient) -> set[str]:
    """What runs just now; a start that outlives the gate may still come."""
    return {one["Id"] for one in root.call("GET", "/containers/json")}


def test_a_killed_gate_in_the_middle_of_starts_leaks_nothing(gate: GateProcess, people: dict[str, Person], root: DockerClient) -> None:
    desks = [Desk(gate, people[f"s{n}"]) for n in range(6)]
    create = ("create", "--gpus", "1", *SLEEP)
    for pause in (0.05, 0.3):
        identities = [desk.must(*create) for desk in desks]
        clients = [desk.start("start", identity) for desk, identity in zip(desks, identities, strict=True)]
        time.sleep(pause)  # how far the starts get is the point of the test
        gate.kill()
        gate.start()
        for client in clients:
            client.communicate(timeout=30)
        wait_until(lambda: set(claims(gate)) == _running(root), 90, "claims of exactly the running containers")
        held = claims(gate)
        assert len(set().union(*held.values(), set())) == len(held), "two containers have the same device"
        for identity in identities:
            root.call("DELETE", f"/containers/{identity}?force=1")
        no_claims(gate)


def test_ends_while_the_gate_is_away_are_noticed_afterwards(alice: Desk, root: DockerClient) -> None:
    identity = alice.must("run", "-d", "--gpus", "1", *SLEEP)
    alice.gate.kill()
    root.call("POST", f"/containers/{identity}/kill")
    alice.gate.start()
    no_claims(alice.gate)


@pytest.mark.both
def test_a_restarted_daemon(alice: Desk) -> None:
    """Case 122: a 503 in between, then all goes on without a restart of the gate; what died with the daemon holds nothing."""
    alice.must("run", "-d", "--gpus", "1", "--name", "job", "--stop-signal", "KILL", *SLEEP)
    alice.gate.daemon.stop()
    try:
        reply = alice.ask("GET", f"{V}/containers/json")
    finally:
        alice.gate.daemon.start()
    assert reply.status == 503
    assert "dockerd" in reply.message
    assert alice.must("ps", "-q") == ""
    no_claims(alice.gate)
    alice.must("start", "job")
    assert len(claims(alice.gate)) == 1


@pytest.mark.both
def test_a_container_that_restarts_by_itself_is_started_with_a_new_claim(alice: Desk, root: DockerClient) -> None:
    """After a reboot dockerd starts what has a restart policy before anybody granted it a device; root makes that state here."""
    identity = alice.must("create", "--gpus", "1", "--name", "server", *SLEEP)
    root.call("POST", f"/containers/{identity}/update", {"RestartPolicy": {"Name": "unless-stopped"}})
    with pytest.raises(Exception, match="unresolvable CDI devices"):
        root.call("POST", f"/containers/{identity}/start")
    wait_until(lambda: identity in claims(alice.gate), 15, "a claim for the container")
    wait_until(lambda: root.call("GET", f"/containers/{identity}/json")["State"]["Running"], 10, "the container's start")


def test_a_container_that_removes_itself_is_told_of_in_words(alice: Desk) -> None:
    """dockerd does not look where this gate writes, as if it had no time to: what it removes then is not sought again."""
    gate = alice.gate
    elsewhere = gate.state / "unwatched"
    elsewhere.mkdir()
    with gate_before(gate.lab, gate.daemon, "unwatched", claims=str(elsewhere)) as process:
        desk = Desk(process, alice.person)
        done = desk.docker("run", "--rm", "--name", "brief", "--gpus", "1", "busybox", "true")
        assert done.returncode == 125
        assert "had not noticed the GPU" in done.stderr and "No such container" not in done.stderr, done.stderr
        wait_until(lambda: list(elsewhere.glob("ds01-*.json")) == [], 10, "the end of its claim")
        assert "brief" not in desk.must("ps", "-a")


def test_sigterm_lets_requests_end(alice: Desk) -> None:
    """Case 121."""
    identity = alice.must("run", "-d", "busybox", "sh", "-c", "trap '' TERM; sleep 600")
    client = alice.start("stop", "-t", "2", identity)
    wait_until(lambda: bool(alice.gate.events()), 5, "a log")
    time.sleep(0.5)  # the stop is under way then; dockerd takes two seconds for it
    assert alice.gate.stop(signal.SIGTERM) == 0
    alice.gate.start()
    assert client.wait(20) == 0


@pytest.mark.both
def test_compose_with_a_gpu(alice: Desk) -> None:
    assert alice.person is not None
    project = alice.person.home / "project"
    project.mkdir(exist_ok=True)
    reservation = {"resources": {"reservations": {"devices": [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]}}}
    services = {"job": {"image": "busybox", "command": "sleep 600", "deploy": reservation, "volumes": ["data:/data"]}}
    (project / "compose.yaml").write_text(json.dumps({"services": services, "volumes": {"data": {}}}))

    def compose(*arguments: str) -> str:
        done = alice.compose(project, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    compose("up", "-d")
    assert "job" in compose("ps")
    assert compose("exec", "-T", "job", *NODES).strip() == "/dev/nvidia0"
    compose("logs")
    compose("down", "-v", "-t", "0")
    no_claims(alice.gate)
    assert alice.must("volume", "ls", "-q") == ""
