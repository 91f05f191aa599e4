# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Containers of different people can't reach each other, with a real daemon that sets its packet filters; policy can relax it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.daemons import running, wait_until
from tests.integration.gate.gate_process import GateProcess, gate_before, policy
from tests.integration.gate.people import Desk
from tests.integration.lab import Lab, Person

SERVER = ("sh", "-c", "echo reached > /tmp/index.html; exec httpd -f -p 8000 -h /tmp")


@pytest.fixture(scope="module")
def filtering(lab: Lab, people: dict[str, Person]) -> Iterator[GateProcess]:
    """A gate before a daemon of its own, with packet filters."""
    cdi = lab.path / "cdi-networks"
    cdi.mkdir()
    state = lab.path / "networks"
    state.mkdir(mode=0o711)
    with running("sid", state, cdi, filtering=True, icc=False) as daemon:
        daemon.import_image("busybox:latest", lab.image)
        with gate_before(lab, daemon, "networks") as process:
            yield process


def address(desk: Desk, name: str) -> str:
    return desk.must("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)


def reaches(desk: Desk, name: str, target: str) -> bool:
    """Whether a container gets the page of ``target``."""
    return desk.docker("exec", name, "wget", "-q", "-T", "2", "-O", "-", f"http://{target}:8000/").stdout == "reached\n"


def test_the_containers_of_others_are_out_of_reach(filtering: GateProcess, lab: Lab, people: dict[str, Person]) -> None:
    alice, bob = Desk(filtering, people["alice"]), Desk(filtering, people["bob"])
    for desk, name in ((alice, "site"), (bob, "site-of-bob")):
        desk.must("run", "-d", "--name", name, "busybox", *SERVER)
    alice.must("run", "-d", "--name", "other", "busybox", "sleep", "600")
    alice.must("run", "-d", "--name", "explicit", "--network", "bridge", "busybox", "sleep", "600")
    wait_until(lambda: reaches(alice, "other", address(alice, "site")), 20, "that one's own containers reach each other")
    assert reaches(alice, "other", "site"), "by name, too"
    assert reaches(alice, "explicit", "site")
    wait_until(lambda: reaches(bob, "site-of-bob", "127.0.0.1"), 20, "that bob's server serves")
    tries = [(name, target) for target in (address(bob, "site-of-bob"), "site-of-bob") for name in ("other", "explicit")]
    with ThreadPoolExecutor(len(tries)) as pool:  # each waits until wget gives up
        assert not any(pool.map(lambda one: reaches(alice, *one), tries))
    assert alice.docker("network", "connect", "ds01.bob", "other").returncode == 1
    assert alice.docker("network", "rm", "ds01.alice").returncode == 1
    alice.must("network", "prune", "--force")
    alice.must("stop", "-t", "0", "other", "site", "explicit")
    alice.must("network", "prune", "--force")
    alice.must("start", "other", "site")
    wait_until(lambda: reaches(alice, "other", "site"), 20, "that they reach each other after a stop and a prune")

    relaxed: dict[str, Any] = {**policy(lab), "network": {"default": "bridge"}}
    filtering.write_policy(relaxed)
    alice.must("run", "-d", "--name", "common", "busybox", "sleep", "600")
    assert alice.must("inspect", "-f", "{{.HostConfig.NetworkMode}}", "common") in ("default", "bridge")
