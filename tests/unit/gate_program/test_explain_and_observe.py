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

import pytest
from ds01_gate import explain
from ds01_gate.audit import Audit
from ds01_gate.caller import Caller
from ds01_gate.judgement import Judgement
from ds01_gate.settings import Settings

from ds01.caller_paths import Rights
from ds01.claim_turns import Moment
from ds01.core.gate.judge import admit
from ds01.core.gate.verdict import Answer, Forward
from ds01.core.limits import Limits
from ds01.peer_identity import Peer
from tests.allocation_examples import inventory, whole_gpu
from tests.unit.gate.gate_world import ALICE, CONTEXT, GPU_ID, LIMITS, World

RIGHTS = Rights(5001, 5001, ())
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
    verdict = judgement.verdict(caller, admitted, body, CONTEXT, observe=True)
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
    assert explain.from_line(f"gate[1]: {line}") == ("POST", "/containers/abc/start", "alice")
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
    refused = judgement.verdict(caller, admitted, None, CONTEXT, observe=False)
    assert isinstance(refused, Answer)
    assert isinstance(judgement.verdict(caller, admitted, None, CONTEXT, observe=True), Forward)
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
