# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""No filter of a list tells whether somebody else's thing exists: the answer is the one for a name that nothing has, to the letter."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.integration.gate.people import Desk

V = "/v1.45"
MISSING = {"container": "nowhere", "volume": "nowhere", "network": "nowhere", "id": "0" * 64, "short": "0" * 12, "network_id": "0" * 64}


@pytest.fixture
def foreign(alice: Desk, bob: Desk) -> Iterator[dict[str, str]]:
    """Things of bob's, running and attached; alice has some of her own beside them."""
    network = bob.must("network", "create", "theirlan")
    container = bob.must("run", "-d", "--name", "theirs", "--network", "theirlan", "-v", "treasure:/t", "busybox", "sleep", "600")
    alice.must("network", "create", "ourlan")
    alice.must("run", "-d", "--name", "ours", "--network", "ourlan", "-v", "ourvol:/t", "busybox", "sleep", "600")
    yield {
        "container": "theirs",
        "volume": "treasure",
        "network": "theirlan",
        "id": container,
        "short": container[:12],
        "network_id": network,
    }
    assert bob.must("ps", "-q", "--no-trunc") == container


def probes() -> Iterator[tuple[str, str, str]]:
    """(method and path, filter, whose name): every filter of every list that names a thing."""
    for key in ("before", "since", "id", "name"):
        for what in ("container", "id", "short"):
            yield "GET /containers/json", key, what
    yield from (("GET /containers/json", key, key) for key in ("volume", "network"))
    yield "GET /containers/json", "label", "container"
    for key in ("id", "name"):
        for what in ("network", "network_id"):
            yield "GET /networks", key, what
    yield "GET /volumes", "name", "volume"
    for key in ("container", "volume", "network"):
        yield "GET /events", key, key
    yield from (("GET /events", "container", what) for what in ("id", "short"))
    for noun in ("containers", "volumes", "networks"):
        yield from ((f"POST /{noun}/prune", key, "container") for key in ("label", "label!"))


def _answer(desk: Desk, route: str, key: str, value: str) -> tuple[int, bytes]:
    method, path = route.split()
    query = {"filters": json.dumps({key: [value]})}
    if path == "/events":
        query.update(since="1", until=str(int(time.time())))
    elif path == "/containers/json":
        query["all"] = "1"
    reply = desk.ask(method, f"{V}{path}?{urlencode(query)}")
    return reply.status, reply.body.replace(value.encode(), b"NAME")


@pytest.mark.both
def test_a_filter_by_a_foreign_name_says_what_a_missing_one_says(alice: Desk, foreign: dict[str, str]) -> None:
    asked = list(probes())
    told = [
        (*probe, there, missing)
        for probe in asked
        if (there := _answer(alice, *probe[:2], foreign[probe[2]])) != (missing := _answer(alice, *probe[:2], MISSING[probe[2]]))
    ]
    assert told == []
    assert len(asked) > 25


def test_a_filter_by_an_own_name_goes_on_working(alice: Desk, foreign: dict[str, str]) -> None:
    alice.must("create", "--name", "later", "busybox")
    own = alice.must("inspect", "-f", "{{.Id}}", "ours")
    for name in ("ours", own, own[:12]):
        assert alice.must("ps", "-a", "--filter", f"since={name}", "--format", "{{.Names}}") == "later"
        assert alice.must("ps", "-a", "--filter", f"before={name}", "--format", "{{.Names}}") == ""
    assert alice.must("ps", "-a", "--filter", "before=later", "--format", "{{.Names}}") == "ours"
    told = alice.docker("ps", "--filter", "before=nowhere")
    assert "No such container: nowhere" in told.stderr


def test_sizes_of_everything_are_for_admins(alice: Desk) -> None:
    assert alice.ask("GET", f"{V}/system/df").status == 403


def test_the_answer_is_dockerds_own(alice: Desk, boss: Desk, foreign: dict[str, str]) -> None:
    """An admin's filters go to dockerd as they are: what it says to a missing name is what everybody else is told."""
    said, told = (_answer(desk, "GET /containers/json", "since", name) for desk, name in ((boss, "nowhere"), (alice, "theirs")))
    assert (said[0], json.loads(said[1])) == (told[0], json.loads(told[1]))
    assert _answer(boss, "GET /containers/json", "since", "theirs")[0] == 200


@pytest.mark.both
def test_the_beginning_of_two_foreign_ids_is_as_if_absent(alice: Desk, bob: Desk) -> None:
    """dockerd has another answer where an id is ambiguous."""
    seen: dict[str, str] = {}
    while True:
        identity = bob.ask("POST", f"{V}/containers/create", {"Image": "busybox"}).json["Id"]
        if identity[0] in seen:
            break
        seen[identity[0]] = identity
    free = next(digit for digit in "fedcba9876543210g" if digit not in seen)
    answers = [alice.ask("GET", f"{V}/containers/{name}/json") for name in (identity[0], free)]
    assert [(one.status, one.message) for one in answers] == [(404, f"No such container: {name}") for name in (identity[0], free)]
    assert bob.ask("GET", f"{V}/containers/{identity[0]}/json").status == 404
