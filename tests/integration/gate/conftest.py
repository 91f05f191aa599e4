# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""One gate in front of each daemon for the whole run, people, and a clean daemon after every test."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator

import pytest

from ds01.docker_upstream import DockerClient
from tests.integration.conftest import release_of
from tests.integration.daemons import Daemon, wait_until
from tests.integration.gate.ds01_program import Program, install
from tests.integration.gate.gate_process import GateProcess, gate_before
from tests.integration.gate.people import Desk
from tests.integration.lab import Lab, Person

RELEASES = ("trixie", "sid")
FULL = os.environ.get("INTEGRATION") == "full"
"""Every test with both daemons, and more rounds. Otherwise every test with the newer one, and with the older one those marked ``both``."""
STUDENTS = 20


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only a full run does."""
    if FULL:
        return
    left_out = [item for item in items if release_of(item) == "trixie" and item.get_closest_marker("both") is None]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def people(lab: Lab) -> dict[str, Person]:
    """alice and bob, ordinary people; boss, an admin; s0 to s19, students."""
    made = {name: lab.add_person(name, uid, "docker") for name, uid in (("alice", 5001), ("bob", 5002))}
    made["boss"] = lab.add_person("boss", 5003, "docker", "ds01-admin")
    made.update({f"s{n}": lab.add_person(f"s{n}", 5100 + n, "docker") for n in range(STUDENTS)})
    return made


@pytest.fixture(scope="session", params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    """Both daemons, one after the other."""
    return str(request.param)


@pytest.fixture(scope="session")
def daemon(daemon_of: Callable[[str], Daemon], release: str) -> Daemon:
    """The daemon of that release."""
    return daemon_of(release)


@pytest.fixture(scope="session")
def running_gate(lab: Lab, people: dict[str, Person], daemon: Daemon, release: str) -> Iterator[GateProcess]:
    """The gate in front of it."""
    with gate_before(lab, daemon, release, head_seconds=2) as process:
        yield process


@pytest.fixture
def gate(running_gate: GateProcess) -> Iterator[GateProcess]:
    """The gate; afterwards all containers, volumes and networks are removed, and the claims must be gone with them."""
    yield running_gate
    root = DockerClient(str(running_gate.daemon.socket))
    for container in root.call("GET", "/containers/json?all=1"):
        root.call("DELETE", f"/containers/{container['Id']}?force=1&v=1")
    for volume in root.call("GET", "/volumes")["Volumes"] or ():
        root.call("DELETE", f"/volumes/{volume['Name']}?force=1")
    for network in root.call("GET", "/networks"):
        if network["Name"] not in ("bridge", "host", "none"):
            root.call("DELETE", f"/networks/{network['Id']}")
    with contextlib.suppress(FileNotFoundError):
        wait_until(lambda: not list(running_gate.daemon.cdi_dir.glob("ds01-*.json")), 10, "end of the claims of removed containers")


@pytest.fixture
def alice(gate: GateProcess, people: dict[str, Person]) -> Desk:
    """alice at the gate."""
    return Desk(gate, people["alice"])


@pytest.fixture
def bob(gate: GateProcess, people: dict[str, Person]) -> Desk:
    """bob at the gate."""
    return Desk(gate, people["bob"])


@pytest.fixture
def boss(gate: GateProcess, people: dict[str, Person]) -> Desk:
    """An admin at the gate."""
    return Desk(gate, people["boss"])


@pytest.fixture
def root(gate: GateProcess) -> DockerClient:
    """The daemon's own socket."""
    return DockerClient(str(gate.daemon.socket))


def _program(desk: Desk) -> Program:
    program = Program(desk, install(desk.lab.path, desk.lab.client))
    for place in (".config", ".ssh", "workspace"):
        shutil.rmtree(program.home / place, ignore_errors=True)
    root = DockerClient(str(desk.gate.daemon.socket))
    own = f"{program.home.name}/"
    tags = [tag for image in root.call("GET", "/images/json") for tag in image["RepoTags"] or () if tag.startswith(own)]
    for tag in tags:
        root.call("DELETE", f"/images/{tag}?force=1")
    return program


@pytest.fixture
def ds01(alice: Desk) -> Program:
    """The command ds01, as alice, without anything in her home."""
    return _program(alice)


@pytest.fixture
def ds01_of_bob(bob: Desk) -> Program:
    """The command ds01, as bob."""
    return _program(bob)
