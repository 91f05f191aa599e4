# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The grammar of create bodies against a real daemon: every container that comes of it is one that a person may have."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from ds01.docker_upstream import DockerClient
from tests.fuzz.body_grammar import FOREIGN_ID, BodyWriter
from tests.fuzz.container_invariants import broken
from tests.fuzz.fuzz_effort import SEED
from tests.integration.gate.conftest import FULL
from tests.integration.gate.people import Desk
from tests.integration.gate.probe import V, rights

REQUESTS = 4000 if FULL else 400
_BATCH = 50


@pytest.fixture
def furnished(alice: Desk, bob: Desk, root: DockerClient) -> Iterator[str]:
    """What the grammar speaks of: images, and a container, a network and a volume of each of the two. Gives the id of bob's container."""
    names = ["bbx", "pytorch", "labelled", "alice/x"]
    for name in names:
        root.call("POST", f"/images/busybox/tag?repo={name}")
    for desk, container, network, volume in ((alice, "mine", "alicenet", "minevol"), (bob, "bobs", "bobnet", "bobvol")):
        desk.must("network", "create", network)
        desk.must("create", "--name", container, "-v", f"{volume}:/v", "busybox")
    yield bob.must("inspect", "-f", "{{.Id}}", "bobs")
    for name in names:
        root.call("DELETE", f"/images/{name}")


def _linked(link: str, own: str) -> str:
    """A link as it was asked for: inspect tells the name of its container now."""
    return link.replace("/mine:", f"{own}:", 1)


def test_every_container_that_comes_to_be_is_within_its_owners_rights(alice: Desk, root: DockerClient, furnished: str) -> None:
    assert alice.person is not None
    mine = rights(alice, root)
    own = alice.must("inspect", "-f", "{{.Id}}", "mine")
    keep = {one["Id"] for one in root.call("GET", "/containers/json?all=1")}
    made: list[str] = []
    through = 0
    for number in range(REQUESTS):
        text = BodyWriter(random.Random(SEED * 1_000_003 + number)).body()
        text = text.replace("/home/alice", str(alice.person.home)).replace(FOREIGN_ID, furnished)
        reply = alice.ask("POST", f"{V}/containers/create", text.encode("utf-8", "surrogatepass"))
        assert reply.status in (201, 400, 403, 404, 409), f"FUZZ_SEED={SEED}, {number}: {reply.body!r} to {text!a}"
        if reply.status == 201:
            through += 1
            made.append(reply.json["Id"])
            told = root.call("GET", f"/containers/{made[-1]}/json")
            host = {**told["HostConfig"], "Links": [_linked(link, own) for link in told["HostConfig"]["Links"] or ()]}
            container = {**told["Config"], "HostConfig": host}
            assert list(broken(container, mine)) == [], f"FUZZ_SEED={SEED}, {number}: {text!a}"
        if len(made) >= _BATCH or number + 1 == REQUESTS:
            listed = {one["Id"] for one in root.call("GET", "/containers/json?all=1")}
            assert listed - keep == set(made), "a container that nobody was told of"
            for identity in made:
                root.call("DELETE", f"/containers/{identity}?force=1&v=1")
            made.clear()
    print(f"\n{through} of {REQUESTS} creates were let through and inspected (seed {SEED})")
    assert through > REQUESTS * 0.2
