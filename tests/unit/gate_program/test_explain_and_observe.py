# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Explaining a request says what the gate would do; observing a policy lifts quotas and nothing that protects others."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ds01_cli import gate_command
from ds01_cli.__main__ import parser
from ds01_cli.failure import Failure
from ds01_gate import explain
from ds01_gate.audit import Audit
from ds01_gate.caller import Caller
from ds01_gate.judgement import Judgement
from ds01_gate.settings import Settings

from ds01.caller_paths import Rights
from ds01.claim_turns import Moment
from ds01.core.gate import replay
from ds01.core.gate.judge import admit
from ds01.core.gate.verdict import Answer, Forward
from ds01.core.limits import Limits
from ds01.core.policy_check import check
from ds01.core.policy_schema import OBSERVABLE
from ds01.peer_identity import Peer
from tests.allocation_examples import inventory, whole_gpu
from tests.unit.gate.gate_world import ALICE, CONTEXT, GPU_ID, LIMITS, World

RIGHTS = Rights(5001, 5001, ())
EVERY = frozenset(OBSERVABLE)
CREATE = "/v1.45/containers/create"


class WorldFacts:
    """Answers from the small server of the rules' tests."""

    def __init__(self, world: World) -> None:
        self.world = world

    def answer(self, question: Any, _rights: Rights) -> Any:
        return self.world.answer(question)


def told(world: World, method: str, target: str, body: Any = None) -> dict[str, Any]:
    raw = b"" if body is None else json.dumps(body).encode()
    head = explain.head_of(method, target, raw)
    verdict = explain.judged(ALICE, head, raw, world.limits, CONTEXT, RIGHTS, WorldFacts(world).answer)
    gpus = explain.grants(verdict, _limits_with_full_gpu, _moment) if isinstance(verdict, Forward) else []
    return explain.account(verdict, gpus, None)


def _limits_with_full_gpu(_uid: int) -> Limits:
    return replace(LIMITS, gpu=replace(LIMITS.gpu, full_gpu=True))


def _moment() -> Moment:
    return Moment(inventory(whole_gpu(0)), (), (), frozenset(), 0.0)


def observed(world: World, host: dict[str, Any], **config: Any) -> tuple[Forward | Answer, list[dict[str, Any]]]:
    lines = io.StringIO()
    judgement = Judgement(Settings(), None, WorldFacts(world), Audit(lines))  # type: ignore[arg-type]
    body = json.dumps({"Image": "bbx", "HostConfig": host, **config}).encode()
    admitted = admit(ALICE, explain.head_of("POST", CREATE, body), CONTEXT)
    assert not isinstance(admitted, Answer)
    caller = Caller(Peer(1, 5001, 5001, True, "docker"), ALICE, world.limits, RIGHTS)
    verdict = judgement.verdict(caller, admitted, body, CONTEXT, observed=EVERY)
    return verdict, [json.loads(line) for line in lines.getvalue().splitlines()]


def test_what_passes_is_shown_as_it_would_be_forwarded() -> None:
    document = told(World(), "POST", CREATE + "?name=box", {"Image": "bbx"})
    assert document["passes"]
    assert document["body"]["Labels"]["ds01.user"] == "alice"
    assert "let through" in explain.render(document)


@pytest.mark.parametrize(
    ("method", "target", "body", "rule"),
    [
        ("POST", CREATE, {"Image": "bbx", "HostConfig": {"Privileged": True}}, None),
        ("GET", "/v1.45/swarm", None, None),
        ("GET", "/v1.99/info", None, "path"),
        ("POST", CREATE, {"Image": "bbx", "Labels": {"ds01.owner": "bob"}}, None),
    ],
)
def test_what_is_refused_names_its_rule(method: str, target: str, body: Any, rule: str | None) -> None:
    document = told(World(), method, target, body)
    assert not document["passes"]
    assert document["rule"] == rule if rule else document["rule"]
    assert f"refused by rule {document['rule']}" in explain.render(document)


def test_a_start_says_which_device_it_would_get() -> None:
    document = told(World(), "POST", f"/v1.45/containers/{GPU_ID}/start")
    assert document["gpus"] == [{"request": "count=1", "devices": [whole_gpu(0).uuid]}]


def test_a_line_of_the_log_is_a_request() -> None:
    line = json.dumps({"event": "refused", "user": "alice", "route": "POST /containers/{id}/start", "object": "abc"})
    assert explain.from_line(f"gate[1]: {line}") == ("POST", "/containers/abc/start", "alice", b"")
    for bad in ("", "{}", "[]", "{", '{"route": 5}'):
        with pytest.raises(explain.CannotJudge):
            explain.from_line(bad)


def test_what_is_no_request_is_said(tmp_path: Path) -> None:
    for arguments in ([], ["GET", "/info"], ["POST", "/x", "--user", "a", "--body", str(tmp_path / "absent")]):
        with pytest.raises(explain.CannotJudge):
            explain.request_of(explain.options(arguments))
    with pytest.raises(explain.CannotJudge):
        explain.head_of("GET", "/a b", b"")


FULL = World(running=3)


def test_observing_lets_a_quota_pass_and_logs_it() -> None:
    body = {"Image": "bbx"}
    started = io.StringIO()
    judgement = Judgement(Settings(), None, WorldFacts(FULL), Audit(started))  # type: ignore[arg-type]
    head = explain.head_of("POST", f"/v1.45/containers/{GPU_ID}/start", b"")
    admitted = admit(ALICE, head, CONTEXT)
    assert not isinstance(admitted, Answer), body
    caller = Caller(Peer(1, 5001, 5001, True, "docker"), ALICE, LIMITS, RIGHTS)
    refused = judgement.verdict(caller, admitted, None, CONTEXT, observed=frozenset())
    assert isinstance(refused, Answer)
    assert isinstance(judgement.verdict(caller, admitted, None, CONTEXT, observed=EVERY), Forward)
    line = json.loads(started.getvalue())
    assert (line["event"], line["rule"], line["user"]) == ("would_refuse", refused.rule, "alice")
    assert line["route"] == "POST /containers/{id}/start"


@pytest.mark.parametrize(
    ("host", "config"),
    [
        ({"Privileged": True}, {}),
        ({"PidMode": "host"}, {}),
        ({"IpcMode": "host"}, {}),
        ({"NetworkMode": "host"}, {}),
        ({"UsernsMode": "host"}, {}),
        ({"CapAdd": ["SYS_ADMIN"]}, {}),
        ({"Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "rwm"}]}, {}),
        ({"DeviceCgroupRules": ["c 195:* rwm"]}, {}),
        ({"SecurityOpt": ["apparmor=unconfined"]}, {}),
        ({"Runtime": "nvidia"}, {}),
        ({"Binds": ["/etc:/x"]}, {}),
        ({"Binds": ["/var/run/docker.sock:/x"]}, {}),
        ({"Binds": ["bobvol:/x"]}, {}),
        ({"VolumesFrom": ["bobs"]}, {}),
        ({"NetworkMode": "container:bobs"}, {}),
        ({}, {"Labels": {"ds01.owner": "bob"}}),
        ({}, {"Unknown": 1}),
    ],
)
def test_observing_never_lets_pass_what_protects_others(host: dict[str, Any], config: dict[str, Any]) -> None:
    over = replace(LIMITS, container=replace(LIMITS.container, count=0), gpu=replace(LIMITS.gpu, equivalents=Fraction(0)))
    for world in (World(), World(limits=over, running=9)):
        verdict, lines = observed(world, host, **config)
        assert isinstance(verdict, Answer)
        assert 400 <= verdict.status < 500
        assert lines == []


# --- modes of single groups ------------------------------------------------------------------------------------------------------------


def gate_of(**gate: Any) -> frozenset[str]:
    checked = check({"version": 1, "default_group": "a", "groups": {"a": None}, "gate": gate})
    assert checked.policy is not None, checked.problems
    return checked.policy.gate.observed


@pytest.mark.parametrize(
    ("gate", "observed"),
    [
        ({}, set()),
        ({"mode": "observe"}, set(OBSERVABLE)),
        ({"modes": {"images": "observe"}}, {"images"}),
        ({"mode": "observe", "modes": {"gpus": "enforce", "images": None}}, set(OBSERVABLE) - {"gpus"}),
        ({"mode": "enforce", "modes": {"gpus": "enforce", "networks": "observe"}}, {"networks"}),
    ],
)
def test_a_group_has_its_own_mode_or_the_common_one(gate: dict[str, Any], observed: set[str]) -> None:
    assert gate_of(**gate) == observed


QUOTAS = {
    "containers": ("POST", f"/v1.45/containers/{GPU_ID}/start", None),
    "networks": ("POST", "/v1.45/networks/create", {"Name": "lan"}),
    "images": ("POST", "/v1.45/images/create?fromImage=evil.example/x&tag=1", None),
    "volumes": ("POST", "/v1.45/volumes/create", {"Name": "onemore"}),
}
STRICT = replace(CONTEXT, networks_per_user=0, registries=("docker.io",))


@pytest.mark.parametrize("observed", [frozenset({name}) for name in OBSERVABLE])
@pytest.mark.parametrize("group", QUOTAS)
def test_observing_one_group_lifts_its_quota_and_no_other(group: str, observed: frozenset[str]) -> None:
    method, target, body = QUOTAS[group]
    raw = b"" if body is None else json.dumps(body).encode()
    lines = io.StringIO()
    world = World(running=3, context=STRICT, volume_count=10)
    judgement = Judgement(Settings(), None, WorldFacts(world), Audit(lines))  # type: ignore[arg-type]
    admitted = admit(ALICE, explain.head_of(method, target, raw), STRICT)
    assert not isinstance(admitted, Answer)
    caller = Caller(Peer(1, 5001, 5001, True, "docker"), ALICE, LIMITS, RIGHTS)
    verdict = judgement.verdict(caller, admitted, raw, STRICT, observed=observed)
    assert isinstance(verdict, Forward) is (group in observed)
    assert ("would_refuse" in lines.getvalue()) is (group in observed)


# --- a refusal of the log is judged again ----------------------------------------------------------------------------------------------


def test_a_refusal_in_the_log_is_replayed_with_its_body_and_without_secrets() -> None:
    body = {
        "Image": "bbx",
        "Env": ["TOKEN=hunter2", "NVIDIA_VISIBLE_DEVICES=all", "PLAIN"],
        "Cmd": ["login", "hunter2"],
        "Labels": {"a": "b"},
        "HostConfig": {"Binds": ["/etc:/m"]},
    }
    raw = json.dumps(body).encode()
    admitted = admit(ALICE, explain.head_of("POST", CREATE + "?name=box", raw), CONTEXT)
    assert not isinstance(admitted, Answer)
    first = World().judged(admitted, raw)
    assert isinstance(first, Answer)
    kept = replay.kept(admitted)
    line = json.dumps({"event": "refused", "user": "alice", "route": admitted.route.name, "object": "", **kept})
    assert "hunter2" not in line
    method, target, user, again = explain.from_line(line)
    assert (method, target, user) == ("POST", "/v1.45/containers/create?name=box", "alice")
    assert json.loads(again)["Env"] == ["TOKEN=", "NVIDIA_VISIBLE_DEVICES=all", "PLAIN"]
    assert told(World(), method, target, json.loads(again))["rule"] == first.rule


@pytest.mark.parametrize("body", [{"Image": "x" * 9000}, ["no object"]])
def test_what_is_too_long_for_the_log_is_left_out(body: Any) -> None:
    raw = json.dumps(body).encode()
    admitted = admit(ALICE, explain.head_of("POST", CREATE, raw), CONTEXT)
    assert not isinstance(admitted, Answer)
    World().judged(admitted, raw)
    assert "body" not in replay.kept(admitted)


def test_the_admins_command_becomes_the_gates_own() -> None:
    ran: list[Any] = []
    parsed = parser("gate").parse_args(["gate", "explain", "--user", "alice", "GET", "/v1.45/info"])
    with mock.patch("os.geteuid", return_value=0):
        assert gate_command.run(parsed, execute=lambda *call: ran.append(call)) == 0
    assert ran == [(gate_command.PROGRAM, ["ds01-gate", "explain", "--user=alice", "--", "GET", "/v1.45/info"])]
    again = explain.options(ran[0][1][2:])
    assert (again.user, again.method, again.target, again.line) == ("alice", "GET", "/v1.45/info", None)
    with mock.patch("os.geteuid", return_value=1000), pytest.raises(Failure, match="administrators"):
        gate_command.run(parsed)
    with mock.patch("os.geteuid", return_value=0), pytest.raises(Failure, match="No such file"):
        gate_command.run(parsed, program="/nowhere/ds01-gate")
