# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The network of a container that asks for none: by policy the person's own, so that other people's containers are out of reach."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest

from ds01.core.gate.facts import Container, Network
from ds01.core.gate.verdict import Answer, EnsureNetwork, Forward
from tests.unit.gate.gate_world import ADMIN, ALICE, BOB, CONTEXT, OWN_ID, World, body_of, owner, status_of

V = "/v1.45"
OWN = "ds01.alice"
LABELS = {**owner(ALICE), "ds01.internal": "default-network"}


def world(default: str = "per-user", there: dict[str, str] | None = None) -> World:
    made = World(context=replace(CONTEXT, network_default=default))
    if there is not None:
        made.networks.append(Network("6f" * 32, OWN, there))
    return made


@pytest.mark.parametrize("there", [None, LABELS], ids=["new", "there"])
@pytest.mark.parametrize("asked", ["", "default", "bridge"])
def test_everybody_gets_their_own_bridge(asked: str, there: dict[str, str] | None) -> None:
    endpoints = {"EndpointsConfig": {asked: {"Aliases": ["db"]}}} if asked else {}
    verdict = world(there=there).create({"NetworkMode": asked}, NetworkingConfig=endpoints)
    body = body_of(verdict)
    assert body["HostConfig"]["NetworkMode"] == OWN
    assert body.get("NetworkingConfig", {}) == ({"EndpointsConfig": {OWN: {"Aliases": ["db"]}}} if asked else {})
    assert isinstance(verdict, Forward)
    assert verdict.before[0] == EnsureNetwork(OWN, LABELS)


@pytest.mark.parametrize(
    ("default", "asked", "mode"),
    [
        ("bridge", "", "default"),
        ("bridge", "default", "default"),
        ("bridge", "bridge", "bridge"),
        ("none", "", "none"),
        ("none", "default", "none"),
        ("none", "bridge", "bridge"),
        ("per-user", "none", "none"),
        ("per-user", "alicenet", "alicenet"),
        ("per-user", "container:mine", f"container:{OWN_ID}"),
        ("per-user", OWN, OWN),
    ],
)
def test_policy_can_relax_and_tighten_it(default: str, asked: str, mode: str) -> None:
    verdict = world(default).create(
        {"NetworkMode": asked}, NetworkingConfig={"EndpointsConfig": {"default": {}} if asked == "default" else {}}
    )
    assert body_of(verdict)["HostConfig"]["NetworkMode"] == mode
    assert isinstance(verdict, Forward)
    assert any(isinstance(one, EnsureNetwork) for one in verdict.before) is (mode == OWN)


@pytest.mark.parametrize("mode", ["ds01.bob", "bobnet", "host"])
def test_nobody_gets_onto_somebody_elses(mode: str) -> None:
    there = world()
    there.networks.append(Network("7a" * 32, "ds01.bob", {**owner(BOB), "ds01.internal": "default-network"}))
    assert status_of(there.create({"NetworkMode": mode})) in (403, 404)
    assert status_of(there.create(NetworkingConfig={"EndpointsConfig": {mode: {}}})) in (403, 404)
    assert status_of(there.ask("POST", f"{V}/networks/{mode}/connect", {"Container": "mine"})) in (403, 404)


def test_a_network_of_that_name_that_is_somebody_elses_is_not_joined() -> None:
    there = world(there={**owner(BOB), "ds01.internal": "default-network"})
    assert status_of(there.create({})) == 404


def test_the_common_bridge_is_out_of_reach_where_everybody_has_their_own() -> None:
    body = {"Container": "mine"}
    assert status_of(world().ask("POST", f"{V}/networks/bridge/connect", body)) == 404
    assert isinstance(world("bridge").ask("POST", f"{V}/networks/bridge/connect", body), Forward)


def test_two_names_of_one_network_are_refused() -> None:
    assert status_of(world().create(NetworkingConfig={"EndpointsConfig": {"default": {}, "bridge": {}}})) == 400


def test_the_default_network_stays() -> None:
    there = world(there=LABELS)
    assert status_of(there.ask("DELETE", f"{V}/networks/{OWN}")) == 403
    assert isinstance(there.as_(ADMIN).ask("DELETE", f"{V}/networks/{OWN}"), Forward)
    pruned = there.ask("POST", f"{V}/networks/prune")
    assert isinstance(pruned, Forward)
    assert '"label!":{"ds01.internal=default-network":true}' in unquote(pruned.query)
    assert status_of(there.ask("POST", f"{V}/networks/create", {"Name": "ds01.bob"})) == 400


@pytest.mark.parametrize("there", [None, LABELS], ids=["gone", "there"])
def test_a_start_finds_its_network_again(there: dict[str, str] | None) -> None:
    made = world(there=there)
    made.containers.append(Container("9" * 64, "old", owner(ALICE), networks=(OWN,)))
    verdict = made.ask("POST", f"{V}/containers/old/start")
    assert isinstance(verdict, Forward)
    assert [one for one in verdict.before if isinstance(one, EnsureNetwork)] == ([] if there else [EnsureNetwork(OWN, LABELS)])


def test_names_that_are_no_names_of_networks_get_one_all_the_same() -> None:
    identity = replace(ALICE, user="248835@example.org")
    verdict = replace(world(), identity=identity).create({})
    assert not isinstance(verdict, Answer)
    wanted: Any = body_of(verdict)["HostConfig"]["NetworkMode"]
    assert wanted == "ds01.248835-u5001" or wanted.startswith("ds01.")
