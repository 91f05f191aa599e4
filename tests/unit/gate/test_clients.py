# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What real clients send must pass: requests recorded from docker 28.2 and docker-py 7.

Those of compose 2.40 and of the devcontainer CLI 0.89 have the shape of what these send.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ds01.core.gate import strict_json
from ds01.core.gate.facts import Container, Image, Network
from ds01.core.gate.verdict import Forward
from tests.unit.gate.gate_world import ALICE, World, body_of, owner, status_of

REQUESTS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "client_requests.json").read_text())
ADMINS_ONLY = ("/system/df",)


def world() -> World:
    """Alice's server with the things that the recorded requests name."""
    known = World()
    known.containers.append(Container("ab" * 32, "x", owner(ALICE)))
    known.execs["e" * 64] = "ab" * 32
    known.networks += [
        Network("6f" * 32, "n1", owner(ALICE)),
        Network("7f" * 32, "n", owner(ALICE)),
        Network("8f" * 32, "n" * 64, owner(ALICE)),
    ]
    known.images |= {
        "a": Image("sha256:" + "1" * 64),
        "alice/b": Image("sha256:" + "2" * 64, tags=("alice/b:latest",)),
        "alice/b:1": Image("sha256:" + "2" * 64, tags=("alice/b:1",)),
        "vsc-proj-0a1b-features-uid": Image("sha256:" + "0" * 64, writer="alice"),
    }
    return known


@pytest.mark.parametrize("request_", REQUESTS, ids=[f"{i}-{r['client']}-{r['method']}-{r['target'][:50]}" for i, r in enumerate(REQUESTS)])
def test_passes(request_: dict[str, Any]) -> None:
    body = request_["body"]
    raw = b"" if body is None else body.encode("latin-1")
    headers = {**request_["headers"]}
    if "Transfer-Encoding" in headers:
        headers.pop("Content-Length", None)
    verdict = (
        world().ask(request_["method"], request_["target"], raw=b"", headers=headers)
        if body == "(archive)"
        else _sent(request_, raw, headers)
    )
    expected = 403 if any(path in request_["target"] for path in ADMINS_ONLY) else 200
    assert status_of(verdict) == expected, verdict


def _sent(request_: dict[str, Any], raw: bytes, headers: dict[str, str]) -> Any:
    headers = {**headers, "Content-Length": str(len(raw))}
    return world().ask(request_["method"], request_["target"], raw=raw, headers=headers)


CREATES = [r for r in REQUESTS if "/containers/create" in r["target"]]


@pytest.mark.parametrize("request_", CREATES, ids=[f"{i}-{r['client']}" for i, r in enumerate(CREATES)])
def test_what_the_client_said_is_kept(request_: dict[str, Any]) -> None:
    asked = json.loads(request_["body"])
    built = body_of(world().ask("POST", request_["target"], raw=request_["body"].encode()))
    for key in (
        "Cmd",
        "Entrypoint",
        "Hostname",
        "User",
        "WorkingDir",
        "Image",
        "Tty",
        "OpenStdin",
        "StdinOnce",
        "AttachStdin",
        "AttachStdout",
    ):
        assert (built.get(key) or None) == (asked.get(key) or None)
    assert built.get("Healthcheck", {}) == {key: value for key, value in (asked.get("Healthcheck") or {}).items() if value}
    for variable in asked.get("Env") or []:
        assert variable in built["Env"]
    targets = {bind.split(":")[1] for bind in asked["HostConfig"].get("Binds") or []} | {
        m["Target"] for m in asked["HostConfig"].get("Mounts") or []
    }
    assert {mount["Target"] for mount in built["HostConfig"].get("Mounts", ())} == targets
    assert bool(built["HostConfig"].get("DeviceRequests")) == bool(asked["HostConfig"].get("DeviceRequests"))


def test_kinds() -> None:
    by_client = {r["client"]: body_of(world().ask("POST", r["target"], raw=r["body"].encode()))["Labels"]["ds01.kind"] for r in CREATES}
    assert by_client == {
        "docker 28.2": "docker",
        "docker-py 7": "docker",
        "compose 2.40 (shape)": "compose",
        "devcontainer CLI 0.89 (shape)": "devcontainer",
    }


def test_compose_mounts_are_made_and_labelled() -> None:
    (request_,) = [r for r in CREATES if r["client"].startswith("compose")]
    verdict = world().ask("POST", request_["target"], raw=request_["body"].encode())
    assert isinstance(verdict, Forward)
    names = [effect.name for effect in verdict.before]  # type: ignore[union-attr]
    assert names[1:] == ["proj_data", "proj_data2"]
    assert names[0].startswith("ds01.root.5001.")
    assert all("ds01.user" in effect.labels for effect in verdict.before[1:])  # type: ignore[union-attr]


def test_what_is_forwarded_reads_back_strictly() -> None:
    for request_ in CREATES:
        verdict = world().ask("POST", request_["target"], raw=request_["body"].encode())
        assert isinstance(verdict, Forward)
        raw = verdict.body or b""
        assert strict_json.dump(strict_json.parse(raw)) == raw


def test_an_image_with_a_namespace_is_looked_for_among_the_containers_first() -> None:
    """``docker inspect team/image`` goes on to images when there is no such container, and to nothing after any other answer."""
    verdict = world().ask("GET", "/v1.51/containers/alice/classic:1/json")
    assert (status_of(verdict), verdict.body["message"]) == (404, "No such container: alice/classic:1")
    assert status_of(world().ask("GET", "/v1.51/containers/alice/classic/logs")) == 403
