# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""/ds01/v1 as schemathesis asks it, from its OpenAPI document: every answer is a documented one, and nobody reads what is another's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from ds01.core.v1_table import ENDPOINTS, PREFIX
from tests.search_effort import FUZZ_EXAMPLES, PROFILE
from tests.unit.gate_program.v1_world import V1World

# What a GPU request or a kind of event is says a grammar of its own, not the schema: not every text of that length is one.
SAID_IN_WORDS = {f"POST {PREFIX}queue", f"GET {PREFIX}events"}
STUDENT, ADMIN, STRANGER = 1, 6, 5
EXAMPLES = min(FUZZ_EXAMPLES, 2000) if PROFILE == "fuzz" else 25
_SECRET = re.compile(rb"secret([0-9]+)x")
Start = Callable[[str, list[tuple[str, str]]], Any]


class Front:
    """The API as a WSGI application for one person; it looks at every answer for what is somebody else's."""

    def __init__(self, world: V1World, uid: int) -> None:
        self._world = world
        self._uid = uid
        self.asked: dict[tuple[str, int], int] = {}
        self.read_of: set[int] = set()

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        target = environ["PATH_INFO"] + (f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else "")
        answer = self._world.ask(self._uid, environ["REQUEST_METHOD"], target, body, environ.get("CONTENT_TYPE", ""))
        said = answer.encoded()
        owners = {int(uid) for uid in _SECRET.findall(said)}
        self.read_of |= owners
        sent = {int(uid) for uid in _SECRET.findall(target.encode() + body)}
        if self._uid != ADMIN and owners - sent - {self._uid}:
            raise AssertionError(f"{self._uid} reads of {owners} in {target}: {said[:500]!r}")
        key = environ["REQUEST_METHOD"], answer.status
        self.asked[key] = self.asked.get(key, 0) + 1
        start(f"{answer.status} said", [("Content-Type", "application/json"), ("Content-Length", str(len(said)))])
        return [said]


@pytest.fixture
def world(tmp_path: Path) -> V1World:
    return V1World(tmp_path, [STUDENT, 2, 2], [3, STUDENT], [4, STUDENT])


def ask_much(operation: Any, mode: GenerationMode) -> None:
    """Many requests of one operation, such as its description allows or such as it forbids; each answer is checked against it."""

    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=PROFILE != "fuzz", suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(excluded_checks=[positive_data_acceptance] if operation.label in SAID_IN_WORDS else None)

    ask()


@pytest.mark.parametrize("uid", [STUDENT, STRANGER, ADMIN], ids=["student", "stranger", "admin"])
def test_every_answer_is_a_documented_one(world: V1World, uid: int) -> None:
    front = Front(world, uid)
    described = schemathesis.openapi.from_wsgi(f"{PREFIX}openapi.json", front)
    operations = [result.ok() for result in described.get_all_operations()]
    assert {one.label for one in operations} == {f"{one.method} {PREFIX}{one.name}" for one in ENDPOINTS if one.name != "openapi.json"}
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                ask_much(operation, mode)
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE  # An operation without parameters has nothing to be wrong.
    print(f"\n/ds01/v1 as {uid}: {sum(front.asked.values())} requests, {front.asked}")
    assert {200, 400} <= {status for _, status in front.asked}
    assert front.read_of >= ({1, 2, 3, 4} if uid == ADMIN else {uid}), "the names that must stay secret were not there to be read"
