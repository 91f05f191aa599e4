# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Volumes and images of one person, counted by a real daemon: who has enough makes no more, until something is removed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ds01.docker_upstream import DockerClient
from tests.integration.daemons import Daemon
from tests.integration.gate.gate_process import GateProcess, gate_before, policy
from tests.integration.gate.people import Desk
from tests.integration.lab import Lab, Person

FILLED = "head -c 3000000 /dev/urandom > /filled"


@pytest.fixture(scope="module")
def strict(lab: Lab, people: dict[str, Person], daemon: Daemon, release: str) -> Iterator[GateProcess]:
    """A gate whose policy allows two volumes, and 2 MiB of images; what was made is removed afterwards."""
    document = policy(lab)
    document["defaults"]["aggregate"].update(volumes=2, images="2M")
    with gate_before(lab, daemon, f"storage-{release}", document) as process:
        yield process
    root = DockerClient(str(daemon.socket))
    for container in root.call("GET", "/containers/json?all=1"):
        root.call("DELETE", f"/containers/{container['Id']}?force=1&v=1")
    for volume in root.call("GET", "/volumes")["Volumes"] or ():
        root.call("DELETE", f"/volumes/{volume['Name']}?force=1")


@pytest.fixture
def alice(strict: GateProcess, people: dict[str, Person]) -> Desk:
    """alice at that gate."""
    return Desk(strict, people["alice"])


@pytest.fixture
def bob(strict: GateProcess, people: dict[str, Person]) -> Desk:
    """bob at that gate."""
    return Desk(strict, people["bob"])


def test_volumes_are_counted_however_they_come_to_be(alice: Desk, bob: Desk) -> None:
    alice.must("volume", "create", "one")
    alice.must("create", "--name", "keeper", "-v", "/anonymous", "busybox")
    for words in (
        ("volume", "create", "three"),
        ("create", "-v", "three:/t", "busybox"),
        ("create", "-v", "/t", "busybox"),
        ("create", "--mount", "type=volume,dst=/t", "busybox"),
        ("create", "--volumes-from", "keeper", "-v", "/t", "busybox"),
    ):
        done = alice.docker(*words)
        assert done.returncode != 0, words
        assert "you have 2 volumes, and 2 are allowed" in done.stderr, words
    alice.must("create", "-v", "one:/t", "busybox")
    alice.must("create", "--volumes-from", "keeper", "-v", "/anonymous", "busybox")
    bob.must("volume", "create", "bobs")
    alice.must("rm", "-f", "-v", *alice.must("ps", "-aq").split())
    alice.must("volume", "create", "two")


@pytest.mark.both
def test_images_count_for_what_they_add(alice: Desk, bob: Desk) -> None:
    alice.must("run", "--name", "filler", "busybox", "sh", "-c", FILLED)
    # As large as busybox and more, of which busybox itself is nobody's.
    alice.must("tag", "busybox", "alice/bbx")
    alice.must("commit", "filler", "alice/filled")
    for words in (("commit", "filler", "alice/again"), ("import", "-", "alice/again"), ("build", "-t", "alice/again", "-")):
        done = alice.docker(*words, stdin="FROM busybox\n")
        assert done.returncode != 0, words
        assert "2 MiB are allowed" in done.stderr, words
    bob.must("run", "--name", "bobs", "busybox", "true")
    bob.must("commit", "bobs", "bob/small")
    alice.must("rmi", "alice/filled")
    alice.must("commit", "filler", "alice/filled")
    alice.must("rmi", "alice/filled", "alice/bbx")
    bob.must("rmi", "bob/small")
