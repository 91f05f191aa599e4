# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""More attacks than the numbered ones, as tables: each is refused by the rule that is meant to, or rebuilt into nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from ds01.core.gate import response_rules
from ds01.core.gate.request_head import BadHead, head_end, parse_head
from ds01.core.gate.verdict import Answer, Forward, ReleaseClaim, ResponseRule
from tests.unit.gate import cases_host_config, cases_json, cases_rebuilt, cases_routes, cases_wire
from tests.unit.gate.gate_world import ADMIN, ALICE, BOB_ID, CLAIM, CONTEXT, GPU_ID, World, body_of


def rows(*tables: list[Any]) -> Iterable[Any]:
    """The rows of all tables, each called by its first item."""
    return [pytest.param(*row[1:], id=row[0]) for table in tables for row in table]


def refused(verdict: Forward | Answer) -> tuple[int, str]:
    """Status and rule; (200, "") for what is forwarded."""
    return (verdict.status, verdict.rule) if isinstance(verdict, Answer) else (200, "")


HOST_TABLES = (cases_host_config.FIELDS, cases_host_config.MODES, cases_host_config.MOUNTS, cases_host_config.GPUS)


@pytest.mark.parametrize(("host", "status", "rule"), rows(*HOST_TABLES))
def test_a_host_config_is_refused(host: dict[str, Any], status: int, rule: str) -> None:
    verdict = World().create(host)
    assert refused(verdict) == (status, rule)
    assert isinstance(verdict, Answer)
    assert verdict.body["message"].isprintable()


@pytest.mark.parametrize(("text", "status", "rule"), rows(cases_json.BODIES))
def test_a_body_is_refused(text: str | bytes, status: int, rule: str) -> None:
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    assert refused(World().ask("POST", "/v1.45/containers/create", raw=raw)) == (status, rule)


@pytest.mark.parametrize(("config", "status", "rule"), rows(cases_json.CONFIGS))
def test_a_config_is_refused(config: dict[str, Any], status: int, rule: str) -> None:
    assert refused(World().create(**config)) == (status, rule)


def at(body: Any, path: str) -> Any:
    """What stands at ``a.b.0.c``; a NUL in a step stands for a dot of the key."""
    for step in path.split("."):
        key = step.replace("\0", ".")
        if isinstance(body, list):
            body = body[int(key)]
        elif key in body:
            body = body[key]
        else:
            return cases_rebuilt.ABSENT
    return body


REBUILT_TABLES = (cases_rebuilt.LIMITS_OF_HOST, cases_rebuilt.NAMESPACES, cases_rebuilt.MOUNTS, cases_rebuilt.LABELS_AND_ENV)


@pytest.mark.parametrize(("config", "expected"), rows(*REBUILT_TABLES))
def test_a_body_is_rebuilt(config: dict[str, Any], expected: dict[str, Any]) -> None:
    built = body_of(World().ask("POST", "/v1.45/containers/create", {"Image": "bbx", **config}))
    assert {path: at(built, path) for path in expected} == expected


@pytest.mark.parametrize(("method", "target", "body", "status", "rule"), rows(cases_routes.REFUSED))
def test_a_route_is_refused(method: str, target: str, body: Any, status: int, rule: str) -> None:
    assert refused(World().ask(method, target, body)) == (status, rule)


@pytest.mark.parametrize(("method", "target", "body", "sent"), rows(cases_routes.REBUILT))
def test_a_route_is_rebuilt(method: str, target: str, body: Any, sent: str) -> None:
    verdict = World().ask(method, target, body)
    assert isinstance(verdict, Forward), verdict
    text = (verdict.body or b"").decode()
    assert f"{verdict.method} {verdict.target} {text}".strip() == sent


@pytest.mark.parametrize(("raw", "status"), rows(cases_wire.HEADS))
def test_a_head_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(BadHead) as error:
        parse_head(raw[: head_end(raw) or None])
    assert error.value.status == status


@pytest.mark.parametrize(("fields", "expected"), rows(cases_wire.FORWARDED_HEADERS))
def test_a_header_goes_no_further(fields: dict[str, str], expected: dict[str, str]) -> None:
    verdict = World().ask("GET", "/v1.45/containers/mine/json", headers=fields)
    assert isinstance(verdict, Forward)
    assert dict(verdict.headers) == expected
    assert not verdict.hijack


def test_the_tables_hold_more_than_two_hundred_attacks_each_of_its_own_name() -> None:
    tables = [*HOST_TABLES, cases_json.BODIES, cases_json.CONFIGS, *REBUILT_TABLES]
    tables += [cases_routes.REFUSED, cases_routes.REBUILT, cases_wire.HEADS, cases_wire.FORWARDED_HEADERS]
    for table in tables:
        assert len({row[0] for row in table}) == len(table)
    assert sum(map(len, tables)) > 300


def test_an_admins_create_is_bound_by_the_same_rules() -> None:
    for _, host, status, rule in (*cases_host_config.FIELDS, *cases_host_config.GPUS):
        if rule not in ("group-add",):
            assert refused(World().as_(ADMIN).create(host)) == (status, rule)


def test_removal_names_the_container_whose_claim_may_end() -> None:
    verdict = World().ask("DELETE", "/containers/gpu")
    assert isinstance(verdict, Forward)
    assert verdict.after == (ReleaseClaim(CLAIM, GPU_ID),)


def test_the_ports_of_the_image_are_published_here_only() -> None:
    world = World()
    world.images["bbx"] = type(world.images["bbx"])(world.images["bbx"].id, ports=("8888/tcp", "odd", "9/sctp"))
    host = body_of(world.create({"PublishAllPorts": True}))["HostConfig"]
    local = [{"HostIp": "127.0.0.1", "HostPort": ""}]
    assert host["PortBindings"] == {"8888/tcp": local, "9/sctp": local}
    assert "PublishAllPorts" not in host


def test_info_names_no_claim() -> None:
    """API 1.50 and newer list every CDI device, and a claim's device is called by the claim."""
    told = b'{"ID":"x","DiscoveredDevices":[{"Source":"cdi","ID":"ds01.infra/gpu=c0123456789ab"}]}'
    assert b"c0123456789ab" not in response_rules.rewrite(ResponseRule.INFO, told, ALICE, CONTEXT)
    assert b"c0123456789ab" in response_rules.rewrite(ResponseRule.INFO, told, ADMIN, CONTEXT)


def test_no_rebuilt_request_names_what_is_bobs() -> None:
    for _, method, target, body, _ in cases_routes.REBUILT:
        verdict = World().ask(method, target, body)
        assert isinstance(verdict, Forward)
        assert BOB_ID not in f"{verdict.target}{verdict.body!r}"
