# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The claim is the file: a real daemon gives a container what its claim says at each start, and nothing without one."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ds01_gate.cdi_notice import UNRESOLVABLE

from ansible_collections.ds01.infra.plugins.modules import container_scan
from ansible_collections.ds01.infra.tests.unit.modules.module_runs import run_module
from ds01.allocator import AllocationPaths, Allocator
from ds01.core.claim import cdi_name
from ds01.core.claim_reconcile import ContainerState
from ds01.core.gpu_request import GpuRequest
from ds01.core.limits import Limits
from ds01.docker_upstream import DaemonRefused, DockerClient
from ds01.slice_control import NoSlices
from tests.allocation_examples import SEVEN, base_spec, inventory, limits, mig_gpu, publish, whole_gpu
from tests.integration.daemons import Daemon, running, wait_until
from tests.integration.lab import Lab

ALL = GpuRequest(everything=True)
SLEEP = ["sleep", "600"]


class Host:
    """A daemon, an allocator beside it, and containers that ask for their own claim by name."""

    def __init__(self, daemon: Daemon, directory: Path) -> None:
        stock = inventory(whole_gpu(0), mig_gpu(1, SEVEN[:3]))
        publish(directory, stock)
        base = base_spec(stock)
        for libraries in ("mounts", "hooks"):
            del base["containerEdits"][libraries]
        (directory / "cdi-base.json").write_text(json.dumps(base))
        self.daemon = daemon
        self.docker = DockerClient(str(daemon.socket))
        self.paths = AllocationPaths(
            daemon.cdi_dir, directory / "lock", directory / "devices.json", directory / "cdi-base.json", directory / "reservations.json"
        )
        self.allocator = Allocator(self.paths, NoSlices())
        self.containers: dict[str, str] = {}

    def create(self) -> str:
        """A container that is not started; returns its claim's id."""
        claim_id = "c" + secrets.token_hex(6)
        body = {
            "Image": "busybox",
            "Cmd": SLEEP,
            "Labels": {"ds01.claim": claim_id},
            "HostConfig": {"NetworkMode": "none", "DeviceRequests": [{"Driver": "cdi", "DeviceIDs": [cdi_name(claim_id)]}]},
        }
        self.containers[claim_id] = self.docker.call("POST", "/v1.45/containers/create", body)["Id"]
        return claim_id

    def grant(self, claim_id: str, who: Limits | None = None, request: GpuRequest = ALL) -> Any:
        return self.allocator.grant(claim_id, who or limits(), 1000, request, self.containers[claim_id], claim_id)

    def start(self, claim_id: str) -> None:
        self.docker.call("POST", f"/v1.45/containers/{self.containers[claim_id]}/start")

    def stop(self, claim_id: str) -> None:
        self.docker.call("POST", f"/v1.45/containers/{self.containers[claim_id]}/stop?t=0")

    def sees(self, claim_id: str) -> set[str]:
        """The NVIDIA nodes in the container's own /dev."""
        found = self.docker.call("GET", f"/v1.45/containers/{self.containers[claim_id]}/json")
        dev = f"/proc/{found['State']['Pid']}/root/dev"
        listing = subprocess.run(
            self.daemon.inside("find", dev, "-name", "nvidia*", "-type", "c"), capture_output=True, text=True, check=True, timeout=30
        )
        return {line.removeprefix(f"/proc/{found['State']['Pid']}/root") for line in listing.stdout.splitlines()}

    def states(self) -> list[ContainerState]:
        """The containers as the daemon lists them."""
        listed = self.docker.call("GET", "/v1.45/containers/json?all=1")
        return [ContainerState(c["Id"], c["State"] == "running", c["Labels"].get("ds01.claim")) for c in listed]

    def clean(self) -> None:
        for claim_id, container in self.containers.items():
            self.docker.call("DELETE", f"/v1.45/containers/{container}?force=1")
            self.allocator.drop(claim_id)


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[Daemon]:
    """A daemon of these tests alone: a gate before it would end claims, too."""
    directory = lab.path / "allocation"
    (directory / "cdi").mkdir(parents=True)
    with running("trixie", directory, directory / "cdi") as started:
        started.import_image("busybox:latest", lab.image)
        yield started


@pytest.fixture
def host(daemon: Daemon, tmp_path: Path) -> Iterator[Host]:
    made = Host(daemon, tmp_path)
    yield made
    made.clean()


def test_without_a_claim_it_does_not_start(host: Host) -> None:
    claim_id = host.create()
    with pytest.raises(DaemonRefused, match="unresolvable CDI devices"):
        host.start(claim_id)


def test_exactly_the_nodes_of_the_claim(host: Host) -> None:
    claim_id = host.create()
    (device,) = host.grant(claim_id).devices
    host.start(claim_id)
    gi = 3 + 135 * device.gpu_minor + 9 * device.gi_id
    caps = {f"/dev/nvidia-caps/nvidia-cap{minor}" for minor in (gi, gi + 1)}
    assert host.sees(claim_id) == {"/dev/nvidiactl", "/dev/nvidia1"} | caps


def test_another_start_another_device(host: Host) -> None:
    """The request is frozen in the container, the device is not."""
    claim_id = host.create()
    host.grant(claim_id)
    host.start(claim_id)
    first = host.sees(claim_id)
    host.stop(claim_id)
    host.allocator.release(claim_id)
    with pytest.raises(DaemonRefused, match="unresolvable"):
        host.start(claim_id)
    host.grant(claim_id, limits(full_gpu=True), GpuRequest(full=True))
    host.start(claim_id)
    assert host.sees(claim_id) == {"/dev/nvidiactl", "/dev/nvidia0"} != first


def _started(host: Host, claim_id: str) -> bool:
    """One try; False when the daemon has not noticed the spec yet, any other refusal is raised."""
    try:
        host.start(claim_id)
    except DaemonRefused as error:
        if UNRESOLVABLE not in error.message:
            raise
        return False
    return True


def test_a_start_right_after_the_grant_finds_it(host: Host) -> None:
    """The daemon learns of specs by inotify: a start that follows at once finds its spec, if need be when tried again, as the gate does."""
    claim_id = host.create()
    for _ in range(10):
        host.grant(claim_id)
        wait_until(lambda: _started(host, claim_id), 3, "a start that finds the spec")
        host.docker.call("POST", f"/v1.45/containers/{host.containers[claim_id]}/kill")
        wait_until(lambda: all(s.id != host.containers[claim_id] or not s.alive for s in host.states()), 20, "the container's end")
        host.allocator.release(claim_id)


def test_reconcile_by_the_daemons_own_list(host: Host) -> None:
    runs, stopped, removed = (host.create() for _ in range(3))
    for claim_id in (runs, stopped, removed):
        host.grant(claim_id)
        host.start(claim_id)
    host.stop(stopped)
    host.docker.call("DELETE", f"/v1.45/containers/{host.containers.pop(removed)}?force=1")
    plan = host.allocator.reconcile(host.states(), time.time() + 3600)
    assert set(plan.drop) == {stopped, removed} and plan.unclaimed == ()
    assert all(host.allocator.finish(claim_id) for claim_id in plan.drop)
    assert [c.id for c in host.allocator.claims()] == [runs]


def test_container_scan_finds_the_claim(host: Host, tmp_path: Path) -> None:
    claim_id = host.create()
    host.grant(claim_id)
    host.start(claim_id)
    options = {
        "docker_socket": str(host.daemon.socket),
        "cdi_directory": str(host.paths.claims),
        "run_directory": str(tmp_path),
    }
    scan = run_module(container_scan, options).result
    (found,) = [w for w in scan["workloads"] if w["claim"] == claim_id]
    assert found["container_id"] == host.containers[claim_id] and found["running"] and found["gpus"][0]["profile"] == "1g.5gb"
    assert scan["sources"]["docker"]["ok"] and scan["containers"]["running"] >= 1
    assert scan["changed"] is False


def test_container_scan_without_a_daemon_says_so(tmp_path: Path) -> None:
    options = {"docker_socket": str(tmp_path / "none"), "cdi_directory": str(tmp_path), "run_directory": str(tmp_path)}
    scan = run_module(container_scan, options)
    assert not scan.failed and scan.result["sources"]["docker"]["ok"] is False and scan.result["sources"]["docker"]["error"]
