# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""devcontainer.json: comments, what the gate would refuse, and that what is written is accepted by the gate's own rules of create."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.devcontainer_config import check, new_config, parse, strip_comments

ROOTS = ("/home/alice",)
GOOD: dict[str, Any] = {"image": "python:3.12", "runArgs": ["--gpus", "all"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1} // end', {"a": 1}),
        ('// begin\n{"a": [1, 2,], /* x */ "b": "http://x, ]",}', {"a": [1, 2], "b": "http://x, ]"}),
        ('{"a": "/* no */ // no \\" ,}"}', {"a": '/* no */ // no " ,}'}),
        ('{"a": 1, /* , */ // ,\n }', {"a": 1}),
    ],
)
def test_comments_and_last_commas_go(text: str, expected: Any) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1,, }', "/* open", '"open', '{"a": 1 /* open'])
def test_what_is_no_document_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(_JSON)
def test_plain_json_stays_what_it_is(value: Any) -> None:
    assert json.loads(strip_comments(json.dumps(value, indent=1))) == value


@pytest.mark.parametrize(
    "change",
    [
        {"privileged": True},
        {"capAdd": ["SYS_PTRACE"]},
        {"securityOpt": ["seccomp=unconfined"]},
        {"runArgs": ["--gpus", "all", "--privileged"]},
        {"runArgs": ["--gpus", "all", "--network=host"]},
        {"runArgs": ["--gpus", "all", "--net", "host"]},
        {"runArgs": ["--gpus", "all", "--ipc", "host"]},
        {"runArgs": ["--gpus", "all", "--pid=host"]},
        {"runArgs": ["--gpus", "all", "--device=/dev/nvidia0"]},
        {"runArgs": ["--gpus", "all", "--cap-add", "CAP_SYS_ADMIN"]},
        {"runArgs": ["--gpus", "all", "--security-opt=label=disable"]},
        {"runArgs": ["--gpus", "all", "--runtime", "nvidia"]},
        {"runArgs": ["--gpus", "all", "-v", "/etc:/etc"]},
        {"runArgs": ["--gpus", "all", "-v/:/host"]},
        {"runArgs": ["--gpus", "all", "--volume=/home/alice/../bob:/b"]},
        {"runArgs": ["--gpus", "all", "--mount", "type=bind,source=/home/bob,target=/b"]},
        {"mounts": ["source=/var/run/docker.sock,target=/var/run/docker.sock,type=bind"]},
        {"mounts": [{"type": "bind", "source": "/home/alicex", "target": "/x"}]},
        {"workspaceMount": "source=/srv/code,target=/workspace,type=bind"},
        {"features": {"ghcr.io/devcontainers/features/docker-in-docker:2": {}}},
        {"features": {"ghcr.io/devcontainers/features/docker-outside-of-docker:1": {}}},
        {"image": None},
    ],
)
def test_what_the_gate_refuses_is_found(change: dict[str, Any]) -> None:
    document = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    found = [one for one in check(document, ROOTS) if one.refused]
    assert len(found) == 1, found
    assert found[0].instead


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"capAdd": ["CHOWN"]},
        {"securityOpt": ["no-new-privileges"]},
        {"privileged": False},
        {"runArgs": ["--gpus", "all", "--shm-size", "8g", "-v", "/home/alice/data:/data", "-v", "cache:/cache"]},
        {"mounts": ["source=cache,target=/c,type=volume", "source=${localEnv:HOME}/data,target=/d,type=bind"]},
    ],
)
def test_what_the_gate_takes_is_left_alone(change: dict[str, Any]) -> None:
    assert check({**GOOD, **change}, ROOTS) == []


def test_advice_is_no_refusal() -> None:
    found = check({"image": "x", "shutdownAction": "none"}, ROOTS)
    assert [(one.where, one.refused) for one in found] == [("runArgs", False), ("shutdownAction", False)]
    assert not any(one.refused for one in check({"dockerComposeFile": "compose.yml"}, ROOTS))


@pytest.mark.parametrize("gpu", ["all", "2g.10gb"])
def test_what_is_written_has_nothing_that_is_found(gpu: str) -> None:
    assert check(new_config("x", "python:3.12", gpu), ROOTS) == []
    assert [one.where for one in check(new_config("x", "python:3.12", None), ROOTS)] == ["runArgs"]


@pytest.mark.parametrize(
    "value",
    [
        {"runArgs": "x"},
        {"runArgs": [1, None]},
        {"mounts": 5},
        {"mounts": [5]},
        {"features": ["docker-in-docker"]},
        {"capAdd": "ALL"},
        {"features": 5},
    ],
)
def test_odd_documents_break_nothing(value: dict[str, Any]) -> None:
    check({**GOOD, **value}, ROOTS)
