# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Create bodies by the hundred thousand: what dockerd understands of the bytes that it is sent is what the gate judged, and is allowed."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from ds01.core.gate.judge import admit
from ds01.core.gate.request_head import parse_head
from ds01.core.gate.verdict import EnsureVolume, Forward
from tests.fuzz.body_grammar import BodyWriter
from tests.fuzz.container_invariants import Rights, broken
from tests.fuzz.docker_types import CREATE_26, CREATE_28
from tests.fuzz.fuzz_effort import Tally
from tests.fuzz.go_json import GoError, parse
from tests.unit.gate import cases_host_config
from tests.unit.gate.gate_world import ALICE, BOB_ID, CONTEXT, LIMITS, OWN_ID, World

ROOTS = {"/home/alice", "/scratch/alice", "/data"}
RIGHTS = Rights(
    "alice",
    5001,
    LIMITS.container.memory,
    int(LIMITS.container.cpus * 10**9),
    LIMITS.container.pids,
    LIMITS.container.shm,
    groups=frozenset(("6000", "5001")),
    containers=frozenset((OWN_ID,)),
    volumes=frozenset(("minevol",)),
    networks=frozenset(("default", "bridge", "none", "", "alicenet")),
    foreign=(BOB_ID, "bobvol", "bobnet", "bobs", "bobmade"),
)
HEAD = parse_head(b"POST /v1.45/containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n")
# What the gate hands on as the client wrote it: here its parser and dockerd's must have read the same.
COPIED = (
    *("Image", "Hostname", "User", "WorkingDir", "Cmd", "Entrypoint", "Tty", "OpenStdin", "StopSignal", "Shell", "Healthcheck"),
    *("HostConfig.CapDrop", "HostConfig.AutoRemove", "HostConfig.Init", "HostConfig.ReadonlyRootfs", "HostConfig.Dns"),
    *("HostConfig.ExtraHosts", "HostConfig.Tmpfs"),
)


def at(told: dict[str, Any], path: str) -> Any:
    """What stands there without what says nothing: a zero value is the same as none."""
    first, _, rest = path.partition(".")
    value = told.get(first) or {}
    value = value.get(rest) if rest else value
    return ({key: item for key, item in value.items() if item} if isinstance(value, dict) else value) or None


def check_container(asked: bytes, sent: bytes) -> None:
    """All that must hold of a body that was forwarded."""
    node = parse(sent)
    told = CREATE_28.decode(node, {})
    assert CREATE_26.decode(node, {}) == told, "Docker 26 would see more in it"
    assert told == json.loads(sent), "dockerd would understand something else than what was judged"
    assert list(broken(told, RIGHTS)) == []
    try:
        understood = CREATE_28.decode(parse(asked), {})
    except GoError:
        return  # dockerd would refuse it: a zero value of another type, such as [] for an object, which the gate passes over
    for path in COPIED:
        assert at(understood, path) == at(told, path), f"the gate and dockerd read {path} differently"
    asked_memory, memory = at(understood, "HostConfig.Memory") or 0, told["HostConfig"]["Memory"]
    assert memory == (asked_memory if 0 < asked_memory < RIGHTS.memory else RIGHTS.memory)
    env = [entry for entry in understood.get("Env") or () if not entry.upper().startswith("NVIDIA_")]
    assert env == told["Env"][:-1]


def check_effects(verdict: Forward) -> None:
    """Volumes that are made beforehand carry their owner, and only those of bind roots have options."""
    for effect in verdict.before:
        if isinstance(effect, EnsureVolume):
            if effect.options:
                assert effect.name.startswith("ds01.root.5001.")
                assert effect.options["device"] in ROOTS
                assert effect.options["o"] == ("rbind,ro" if effect.options["device"] == "/data" else "rbind")
            else:
                assert effect.labels["ds01.user"] == "alice"


def test_create_bodies() -> None:
    tally = Tally("create bodies", 0.5)
    world = World()
    for rng in tally.rounds():
        text = BodyWriter(rng).body()
        raw = text.encode("utf-8", "surrogatepass")
        admitted = admit(ALICE, HEAD, CONTEXT)
        verdict = world.judged(admitted, raw)  # type: ignore[arg-type]
        if not isinstance(verdict, Forward):
            assert verdict.status in (400, 403, 404, 409), f"{tally.where}: {verdict} for {text!a}"
            continue
        tally.forwarded += 1
        try:
            check_container(raw, verdict.body or b"")
            check_effects(verdict)
        except (AssertionError, GoError) as error:
            raise AssertionError(f"{tally.where}: {error}\nasked: {text!a}\nsent: {verdict.body!r}") from error
    tally.report(0.2)


# --- the judges are judged ---------------------------------------------------------------------------------------------------------------

GO_FACTS = [
    ('{"hostconfig":{"privileged":true}}', {"HostConfig": {"Privileged": True}}),
    ('{"Ho\u017ftConfig":{"Privileged":true}}', {"HostConfig": {"Privileged": True}}),
    ('{"HostConfig":{"Networ\\u212aMode":"host"}}', {"HostConfig": {"NetworkMode": "host"}}),
    ('{"HostConfig":{"Privileged":true},"HostConfig":{"Memory":1}}', {"HostConfig": {"Privileged": True, "Memory": 1}}),
    ('{"HostConfig":{"Privileged":true,"Privileged":null}}', {"HostConfig": {"Privileged": True}}),
    ('{"HostConfig":{"CapAdd":"ALL"}}', {"HostConfig": {"CapAdd": ["ALL"]}}),
    (
        '{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/etc","Target":"/m"}],"Mounts":[{"Target":"/n"}]}}',
        {"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/n"}]}},
    ),
    ('{"Labels":{"a":"1"},"Labels":{"b":"2"}}', {"Labels": {"a": "1", "b": "2"}}),
    ('{"HostConfig":{"Privileged":true},"HostConfig":null}', {"HostConfig": None}),
    ('{"Hostname":"\\ud800x"}', {"Hostname": "\ufffdx"}),
]


@pytest.mark.parametrize(("text", "told"), GO_FACTS)
def test_the_model_reads_like_go(text: str, told: dict[str, Any]) -> None:
    """As measured with Docker 20.10, 26 and 28."""
    assert CREATE_28.decode(parse(text.encode()), {}) == told


@pytest.mark.parametrize(
    "text",
    [
        '{"HostConfig":{"Memory":1.0}}',
        '{"HostConfig":{"Memory":"1"}}',
        '{"Tty":1}',
        '{"Image":1}',
        "{}x",
        '{"a":01}',
        '{"a":}',
        "[",
        "\ufeff{}",
    ],
)
def test_the_model_refuses_like_go(text: str) -> None:
    with pytest.raises(GoError):
        CREATE_28.decode(parse(text.encode()), {})


@pytest.fixture
def good() -> dict[str, Any]:
    verdict = World().create({"Binds": ["/home/alice/p:/w"], "Memory": 1 << 30})
    assert isinstance(verdict, Forward)
    return CREATE_28.decode(parse(verdict.body or b""), {})  # type: ignore[no-any-return]


def test_a_good_container_breaks_nothing(good: dict[str, Any]) -> None:
    assert list(broken(good, RIGHTS)) == []
    assert list(broken(good, replace(RIGHTS, uid=5002))) != []


def test_every_refused_host_config_would_break_an_invariant(good: dict[str, Any]) -> None:
    """The table of attacks, put past the gate: the oracle sees what the gate refuses, as far as dockerd would take it."""
    seen = 0
    for what, host, status, _ in (*cases_host_config.FIELDS, *cases_host_config.MODES, *cases_host_config.MOUNTS):
        if status not in (403, 404, 409):
            continue
        try:
            asked = CREATE_28.decode(parse(json.dumps({"HostConfig": host}).encode()), {})
        except GoError:
            continue
        bad = copy.deepcopy(good)
        bad["HostConfig"].update(asked["HostConfig"])
        if bad == good:
            continue
        seen += 1
        assert list(broken(bad, RIGHTS)) != [], what
    assert seen > 100


def test_flat_fields_are_seen_where_docker_26_takes_them(good: dict[str, Any]) -> None:
    flat = {"Image": "x", "Privileged": True, "Labels": good["Labels"], "Env": good["Env"]}
    assert any("Privileged" in what for what in broken(CREATE_26.decode(parse(json.dumps(flat).encode()), {}), RIGHTS))
