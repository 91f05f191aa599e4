# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``docker … prune`` of an ordinary user with a real daemon: it works, and everybody else's things are still there afterwards."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from ds01.docker_upstream import DockerClient
from tests.integration.gate.people import Desk

V = "/v1.45"


def built(desk: Desk, line: str, tag: str = "") -> str:
    """An image of one more line, made by the classic builder; its id."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        text = f"FROM busybox\n{line}\n".encode()
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    reply = desk.ask("POST", f"{V}/build?t={tag}" if tag else f"{V}/build", archive.getvalue(), Content_Type="application/x-tar")
    assert reply.status == 200, reply.body
    said = [json.loads(part) for part in reply.body.decode().split("\r\n") if part.strip()]
    return next(part["aux"]["ID"] for part in reversed(said) if "aux" in part)


def images(root: DockerClient) -> set[str]:
    """The ids of all images."""
    return {one["Id"] for one in root.call("GET", "/images/json?all=1")}


@pytest.mark.both
def test_a_system_prune_removes_own_things_alone(alice: Desk, bob: Desk, root: DockerClient) -> None:
    mine, replaced = built(alice, "ENV A=1"), built(alice, "ENV A=2", "alice/tool:1")
    current = built(alice, "ENV A=3", "alice/tool:1")
    theirs = built(bob, "ENV B=1")
    forged = built(bob, 'LABEL ds01.user="alice" ds01.uid="5001"')
    for desk in (alice, bob):
        name = desk.person.name if desk.person else ""
        desk.must("run", "--name", f"{name}-ended", "busybox", "true")
        desk.must("network", "create", f"{name}-lan")
        desk.must("volume", "create", f"{name}-data")
    root.call("POST", "/containers/create?name=nobodys", {"Image": "busybox"})

    alice.must("system", "prune", "--force", "--volumes")

    assert images(root) & {mine, replaced, current, theirs, forged} == {current, theirs, forged}
    assert {name for one in root.call("GET", "/containers/json?all=1") for name in one["Names"]} == {"/bob-ended", "/nobodys"}
    assert "bob-lan" in {one["Name"] for one in root.call("GET", "/networks")}
    assert "alice-lan" not in {one["Name"] for one in root.call("GET", "/networks")}
    assert "bob-data" in {one["Name"] for one in root.call("GET", "/volumes")["Volumes"]}

    bob.must("tag", theirs, "bob/kept:1")
    alice.must("image", "prune", "--all", "--force")
    assert images(root) & {current, theirs, forged} == {theirs, forged}
    bob.must("image", "prune", "--all", "--force")
    assert images(root) & {theirs, forged} == set()
    assert root.call("GET", "/images/busybox/json")


def test_every_prune_of_the_cli_ends_well(alice: Desk) -> None:
    for noun in ("container", "image", "network", "volume", "builder", "system"):
        assert "reclaimed" in alice.must(noun, "prune", "--force") or noun == "network"


def test_what_runs_is_not_pruned(alice: Desk, root: DockerClient) -> None:
    mine = built(alice, "ENV A=9")
    alice.must("run", "-d", "--name", "user", mine, "sleep", "600")
    alice.must("image", "prune", "--all", "--force")
    assert mine in images(root)
