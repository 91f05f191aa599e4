# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A start that outlives the programs that asked for it: its claim stays as long as its processes do, and nobody else gets its GPU.

The runtime answers a start only when the test lets it, so that each kill falls between the start of the container's process and the
moment at which dockerd would hear of it.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ds01.docker_upstream import DockerClient
from tests.integration.daemons import Daemon, running, wait_until
from tests.integration.gate.chaos_witness import claims, running_nodes
from tests.integration.gate.gate_process import GateProcess, policy, publish_gpus
from tests.integration.gate.people import Desk
from tests.integration.lab import Lab, Person
from tests.slices_on_disk import SlicesOnDisk

V = "/v1.45"
ORPHAN_SECONDS = 3
_PROGRAM = Path(__file__).with_name("gate_with_slices.py")
_RUNTIME = """#!/bin/sh
runc "$@"
status=$?
case " $* " in *" start "*)
    : > "{place}/started"
    while [ -e "{place}/wait" ]; do sleep 0.05; done
esac
exit $status
"""
ONE_GPU = {
    "Image": "busybox",
    "Cmd": ["sleep", "600"],
    "HostConfig": {"NetworkMode": "none", "DeviceRequests": [{"Count": 1, "Capabilities": [["gpu"]]}]},
}


class SlowRuntime:
    """A runtime whose starts are done and not yet answered while the block runs."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.path = place / "slow-runc"
        self.path.write_text(_RUNTIME.format(place=place))
        self.path.chmod(0o755)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        (self._place / "started").unlink(missing_ok=True)
        (self._place / "wait").touch()
        try:
            yield
        finally:
            self.answer()

    def answer(self) -> None:
        """Let the starts be answered."""
        (self._place / "wait").unlink(missing_ok=True)

    def started(self) -> bool:
        """Whether a container's process was started since."""
        return (self._place / "started").exists()


@pytest.fixture(scope="module")
def place(lab: Lab) -> Path:
    directory = lab.path / "orphans"
    (directory / "cdi").mkdir(parents=True)
    return directory


@pytest.fixture(scope="module")
def runtime(place: Path) -> SlowRuntime:
    return SlowRuntime(place)


@pytest.fixture(scope="module")
def daemon(lab: Lab, place: Path, runtime: SlowRuntime) -> Iterator[Daemon]:
    settings = {"live-restore": True, "runtimes": {"slow": {"path": str(runtime.path)}}, "default-runtime": "slow"}
    with running("sid", place, place / "cdi", **settings) as daemon:
        daemon.import_image("busybox:latest", lab.image)
        yield daemon


@pytest.fixture(scope="module")
def slices(place: Path) -> SlicesOnDisk:
    return SlicesOnDisk(place / "slices")


@pytest.fixture
def gate(lab: Lab, daemon: Daemon, slices: SlicesOnDisk, request: pytest.FixtureRequest) -> Iterator[GateProcess]:
    """A gate over one GPU."""
    name = f"orphans-{request.node.name.split('_')[1]}-{request.node.name[-8:]}"
    process = GateProcess(lab, daemon, name, (sys.executable, str(_PROGRAM), str(slices.directory)))
    try:
        process.open(policy(lab), orphan_seconds=ORPHAN_SECONDS)
        publish_gpus(process.state, 1)
        yield process
    finally:
        process.close()
        root = DockerClient(str(daemon.socket))
        for one in root.call("GET", "/containers/json?all=1"):
            root.call("DELETE", f"/containers/{one['Id']}?force=1")
        for path in daemon.cdi_dir.iterdir():
            path.unlink()


def _made(desk: Desk) -> str:
    return str(desk.ask("POST", f"{V}/containers/create", ONE_GPU).json["Id"])


def _start(desk: Desk, identity: str) -> int:
    return desk.ask("POST", f"{V}/containers/{identity}/start").status


def _asked(desk: Desk, identity: str, runtime: SlowRuntime) -> Any:
    """A start whose process runs and which dockerd does not know yet; the connection that asked for it."""
    wire = desk.wire()
    wire.send(f"POST {V}/containers/{identity}/start HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n".encode())
    wait_until(runtime.started, 30, "the start of the container's process")
    return wire


def _holders(daemon: Daemon) -> set[str]:
    """Containers with a GPU in their /dev and a living process."""
    return {identity for identity, nodes in running_nodes(daemon).items() if nodes}


def _holder_of_the_claim(daemon: Daemon) -> set[str]:
    return {claim["container_id"] for claim in claims(daemon.cdi_dir).values()}


def _looked(gate: GateProcess, kind: str, identity: str) -> bool:
    return any(identity in str(event) for event in gate.events(kind))


def test_a_start_that_outlives_the_gate_keeps_its_claim(
    gate: GateProcess, daemon: Daemon, people: dict[str, Person], runtime: SlowRuntime
) -> None:
    """Longer than the new gate's first looks, which must not take ``created`` for an end."""
    first, second = Desk(gate, people["s0"]), Desk(gate, people["s1"])
    mine, other = _made(first), _made(second)
    with runtime.waiting():
        wire = _asked(first, mine, runtime)
        gate.kill()
        gate.start()
        assert _start(second, other) == 409
        assert _holder_of_the_claim(daemon) == {mine}
        runtime.answer()
    wire.close()
    wait_until(lambda: first.must("inspect", "-f", "{{.State.Running}}", mine) == "true", 20, "the end of the start")
    assert _start(second, other) == 409
    assert _holder_of_the_claim(daemon) == _holders(daemon) == {mine}


def test_a_process_that_dockerd_lost_keeps_its_gpu_until_it_is_ended(
    gate: GateProcess, daemon: Daemon, people: dict[str, Person], runtime: SlowRuntime, slices: SlicesOnDisk
) -> None:
    """dockerd dies before it hears that the process runs: when it is back it says ``created``, and the process lives."""
    first, second = Desk(gate, people["s0"]), Desk(gate, people["s1"])
    mine, other = _made(first), _made(second)
    with runtime.waiting():
        wire = _asked(first, mine, runtime)
        daemon.stop(signal.SIGKILL)
        runtime.answer()
        wire.close()
        daemon.start()
    root = DockerClient(str(daemon.socket))
    assert not root.call("GET", f"/containers/{mine}/json")["State"]["Running"]
    assert _holders(daemon) == {mine}, "the process ended with dockerd: nothing is tested"

    wait_until(lambda: _looked(gate, "quarantined", mine), 20, "a word about the process that dockerd lost")
    assert _start(second, other) == 409
    assert _holder_of_the_claim(daemon) == {mine}
    wait_until(lambda: _looked(gate, "orphan_ended", mine), 20, "the end of that process")
    wait_until(lambda: not claims(daemon.cdi_dir), 20, "the end of its claim")
    assert _start(second, other) == 204
    assert _holders(daemon) == {other}
