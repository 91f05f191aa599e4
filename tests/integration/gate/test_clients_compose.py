# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Two people with the same compose file in a directory of the same name: what one has is out of the other's sight and reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ds01.docker_upstream import DockerClient
from tests.integration.gate.people import Desk

_GPU = {"resources": {"reservations": {"devices": [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]}}}
_FILE = {
    "services": {
        "db": {"image": "busybox", "command": "sh -c 'echo $$OWNER > /data/owner; exec sleep 600'", "volumes": ["data:/data"]},
        "job": {"image": "busybox", "command": "sleep 600", "deploy": _GPU, "depends_on": ["db"]},
    },
    "volumes": {"data": {}},
}
OWN_NAME = {"COMPOSE_PROJECT_NAME": "thesis-of-bob"}


def _project(desk: Desk) -> Path:
    assert desk.person is not None
    directory = desk.person.home / "thesis"
    directory.mkdir(exist_ok=True)
    services = {name: {**service, "environment": {"OWNER": desk.person.name}} for name, service in _FILE["services"].items()}
    (directory / "compose.yaml").write_text(json.dumps({**_FILE, "services": services}))
    return directory


def _must(desk: Desk, project: Path, *arguments: str, **environment: str) -> str:
    done = desk.compose(project, *arguments, **environment)
    assert done.returncode == 0, f"compose {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def _ids(desk: Desk, project: Path, **environment: str) -> set[str]:
    """What ``compose ps`` shows that person."""
    return set(_must(desk, project, "ps", "-q", "--no-trunc", **environment).split())


def _on_the_host(root: DockerClient, owner: str) -> dict[str, set[str]]:
    """The names that the daemon has for what belongs to that person."""

    def mine(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [one for one in found if (one["Labels"] or {}).get("ds01.user") == owner]

    return {
        "containers": {name for one in mine(root.call("GET", "/containers/json?all=1")) for name in one["Names"]},
        "networks": {one["Name"] for one in mine(root.call("GET", "/networks"))},
        "volumes": {one["Name"] for one in mine(root.call("GET", "/volumes")["Volumes"] or [])},
    }


def test_the_same_project_of_two_people(alice: Desk, bob: Desk, root: DockerClient) -> None:
    of_alice, of_bob = _project(alice), _project(bob)
    _must(alice, of_alice, "up", "-d")
    ids = _ids(alice, of_alice)
    assert len(ids) == 2

    refused = bob.compose(of_bob, "up", "-d")
    assert refused.returncode != 0
    assert "belongs to another user" in refused.stderr
    assert "COMPOSE_PROJECT_NAME" in refused.stderr, "it is not said what to do"
    assert _on_the_host(root, "bob") == {"containers": set(), "networks": set(), "volumes": set()}

    _must(bob, of_bob, "up", "-d", **OWN_NAME)
    ids_of_bob = _ids(bob, of_bob, **OWN_NAME)
    assert len(ids_of_bob) == 2
    assert not ids & ids_of_bob
    assert "thesis-of-bob" not in _must(alice, of_alice, "ls", "-a")
    assert _on_the_host(root, "alice") == {
        "containers": {"/thesis-db-1", "/thesis-job-1"},
        "networks": {"thesis_default"},
        "volumes": {"thesis_data"},
    }
    assert _on_the_host(root, "bob") == {
        "containers": {"/thesis-of-bob-db-1", "/thesis-of-bob-job-1"},
        "networks": {"thesis-of-bob_default"},
        "volumes": {"thesis-of-bob_data"},
    }
    devices = {
        _must(desk, project, "exec", "-T", "job", "sh", "-c", "ls /dev/nvidia*", **names)
        for desk, project, names in ((alice, of_alice, {}), (bob, of_bob, OWN_NAME))
    }
    assert devices == {"/dev/nvidia0", "/dev/nvidia1"}

    assert _ids(bob, of_bob) == set(), "bob sees what has alice's project name"
    for attack in (("stop", "-t", "0"), ("kill",), ("rm", "-fsv"), ("down", "-v", "-t", "0", "--remove-orphans")):
        bob.compose(of_bob, "-p", "thesis", *attack)
    assert _ids(alice, of_alice) == ids
    assert _must(alice, of_alice, "exec", "-T", "db", "cat", "/data/owner") == "alice"

    _must(bob, of_bob, "down", "-v", "-t", "0", **OWN_NAME)
    assert _on_the_host(root, "bob") == {"containers": set(), "networks": set(), "volumes": set()}
    assert _ids(alice, of_alice) == ids
    _must(alice, of_alice, "down", "-v", "-t", "0")
    assert _on_the_host(root, "alice") == {"containers": set(), "networks": set(), "volumes": set()}
