# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""/ds01/v1: every answer is what the table says, no request breaks it, and nobody learns what is another's."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from urllib.parse import quote

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dev.write_openapi import text
from ds01.core.v1_schemas import ERROR
from ds01.core.v1_table import ENDPOINTS, PREFIX, openapi
from tests.unit.gate_program.v1_world import V1World, secret

ROOT = Path(__file__).resolve().parent.parent.parent.parent
ADMIN = 6
VALIDATORS = {(one.method, one.name): jsonschema.Draft202012Validator(one.answer) for one in ENDPOINTS}
ERRORS = jsonschema.Draft202012Validator(ERROR)
GETS = [one.name for one in ENDPOINTS if one.method == "GET"]


def conforms(endpoint, answer) -> None:
    """The answer is the document of its endpoint, or an error; never the gate's own failure."""
    assert answer.status < 500, answer.body
    validator = VALIDATORS[endpoint.method, endpoint.name] if answer.status == 200 else ERRORS
    validator.validate(json.loads(answer.encoded()))


@pytest.fixture
def world(tmp_path: Path) -> V1World:
    return V1World(tmp_path, [1, 2, 2], [3, 1], [4])


def endpoint(method: str, name: str):
    return next(one for one in ENDPOINTS if (one.method, one.name) == (method, name))


def test_the_description_in_the_repository_is_the_tables() -> None:
    assert (ROOT / "docs" / "openapi.json").read_text() == text(), "run: python dev/write_openapi.py"


def test_the_schemas_are_schemas() -> None:
    for one in ENDPOINTS:
        jsonschema.Draft202012Validator.check_schema(one.answer)
    assert set(openapi()["paths"]) == {PREFIX + one.name for one in ENDPOINTS}


@pytest.mark.parametrize("uid", [1, 3, 5, ADMIN])
@pytest.mark.parametrize("name", GETS)
def test_every_document_is_what_its_schema_says(world: V1World, name: str, uid: int) -> None:
    answer = world.ask(uid, "GET", PREFIX + name)
    assert answer.status == 200
    conforms(endpoint("GET", name), answer)


def test_join_position_and_leave(world: V1World) -> None:
    joined = world.ask(5, "POST", PREFIX + "queue", b'{"request": "full"}')
    assert joined.status == 200
    conforms(endpoint("POST", "queue"), joined)
    assert (joined.body["position"], joined.body["request"]) == (2, "count=1,full"), (
        "behind 3, who has had as little, and before 1, who has a GPU"
    )
    assert world.ask(5, "POST", PREFIX + "queue", b'{"request": "2"}').status == 409
    assert world.ask(1, "DELETE", PREFIX + "queue").body == {"left": False}, "a start that waits is left by ending it"
    assert [one["user"] for one in world.ask(5, "GET", PREFIX + "queue").body["entries"]] == [secret(5, "user")]
    assert len(world.ask(ADMIN, "GET", PREFIX + "queue").body["entries"]) == 3
    assert world.ask(5, "DELETE", PREFIX + "queue").body == {"left": True}
    assert world.ask(5, "DELETE", PREFIX + "queue").body == {"left": False}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 415),
        (b"{", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"request": 1}', 400),
        (b'{"request": ""}', 400),
        (b'{"request": "all", "user": "x"}', 400),
        (b'{"request": "all", "Request": "all"}', 400),
        (b'{"request": "all", "request": "full"}', 400),
        (b'{"request": "a lot"}', 400),
        (b'{"request": "5g.1gb"}', 403),
        (b'{"request": "9"}', 403),
        (b'{"request": "' + b"x" * 300 + b'"}', 400),
    ],
)
def test_what_is_no_request_is_refused(world: V1World, body: bytes, status: int) -> None:
    answer = world.ask(5, "POST", PREFIX + "queue", body)
    assert answer.status == status, answer.body
    assert world.ask(5, "GET", PREFIX + "queue").body["entries"] == []


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "nothing", 404),
        ("GET", "", 404),
        ("GET", "me/", 404),
        ("GET", "%6de", 404),
        ("GET", "me?x=1", 400),
        ("POST", "me", 405),
        ("DELETE", "claims", 405),
        ("HEAD", "me", 405),
        ("GET", "events?user=someone", 403),
        ("GET", "events?limit=0", 400),
        ("GET", "events?limit=1001", 400),
        ("GET", "events?limit=1&limit=2", 400),
        ("GET", "events?kind=no.such", 400),
        ("GET", "events?kind=.*", 400),
        ("GET", "events?since=9007199254740992", 400),
        ("GET", "events?since=1e3", 400),
        ("GET", "events?container=a%00b", 400),
        ("DELETE", "queue?user=1", 400),
    ],
)
def test_strict(world: V1World, method: str, target: str, status: int) -> None:
    answer = world.ask(1, method, PREFIX + target)
    assert answer.status == status, answer.body


def test_events_are_filtered_and_limited(world: V1World) -> None:
    assert len(world.ask(2, "GET", PREFIX + "events").body["events"]) == 2
    assert len(world.ask(2, "GET", PREFIX + "events?limit=1&kind=claim.*").body["events"]) == 1
    assert world.ask(2, "GET", PREFIX + "events?since=1000").body["events"] == []
    assert len(world.ask(ADMIN, "GET", PREFIX + "events").body["events"]) == 3
    assert len(world.ask(ADMIN, "GET", PREFIX + f"events?user={secret(2, 'user')}").body["events"]) == 2


def test_a_name_that_was_given_anew_does_not_show_the_former_ones_events(world: V1World) -> None:
    from ds01.core.event import Event

    world.bench.log.append(Event("container.start", 999.5, secret(5, "user"), 7777, "former"))
    assert "former" not in json.dumps(world.ask(5, "GET", PREFIX + "events").body)


PEOPLE = st.lists(st.integers(1, 5), max_size=4)
FORGIVING = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@FORGIVING
@given(
    PEOPLE,
    PEOPLE.map(lambda uids: list(dict.fromkeys(uids))),
    PEOPLE,
    st.integers(1, 5),
    st.sampled_from(["", "?limit=1000", "?kind=claim.*", "?since=0"]),
)
def test_nobody_learns_what_is_anothers(busy: list[int], waiting: list[int], reserving: list[int], uid: int, query: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = V1World(Path(directory), busy, waiting, reserving)
        answers = [world.ask(uid, "GET", PREFIX + name + (query if name == "events" else "")) for name in GETS]
        answers.append(world.ask(uid, "POST", PREFIX + "queue", b'{"request": "all"}'))
        answers += [world.ask(uid, "GET", f"{PREFIX}events?user={secret(other, 'user')}") for other in range(1, 6) if other != uid]
        answers += [world.ask(uid, "GET", f"{PREFIX}events?container={secret(other, 'box0')}") for other in range(1, 6) if other != uid]
        told = b"".join(answer.encoded() for answer in answers if answer.status == 200)
        for other in range(1, 6):
            assert other == uid or f"secret{other}x".encode() not in told


WORDS = st.one_of(st.text(max_size=30), st.integers(-(10**20), 10**20).map(str), st.sampled_from(["claim.*", "all", "", "1", "null"]))
BODIES = st.one_of(
    st.binary(max_size=60),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=10),
        lambda c: st.lists(c) | st.dictionaries(st.text(max_size=9), c),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries({"request": WORDS}).map(lambda value: json.dumps(value).encode()),
)


@st.composite
def requests(draw):
    known = draw(st.sampled_from(ENDPOINTS))
    method = draw(st.sampled_from([known.method] * 4 + ["GET", "POST", "DELETE", "PUT", "PATCH"]))
    names = st.sampled_from([*known.query, "x", "user"]) if draw(st.booleans()) else st.sampled_from(list(known.query) or ["x"])
    query = draw(st.lists(st.tuples(names, WORDS), max_size=3))
    path = PREFIX + draw(st.sampled_from([known.name] * 5 + [known.name + "/", known.name.upper(), "."]))
    text_ = "&".join(f"{name}={quote(value)}" for name, value in query)
    return method, f"{path}?{text_}" if query else path, draw(BODIES), draw(st.sampled_from(["application/json"] * 3 + ["text/plain"]))


@FORGIVING
@given(st.lists(st.tuples(st.sampled_from([1, 3, 5, ADMIN]), requests()), min_size=20, max_size=60))
def test_no_request_breaks_it_and_every_answer_is_what_the_table_says(asked) -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = V1World(Path(directory), [1, 2], [3], [4])
        for uid, (method, target, body, media) in asked:
            answer = world.ask(uid, method, target, body, media)
            name = target.removeprefix(PREFIX).partition("?")[0]
            known = next((one for one in ENDPOINTS if (one.method, one.name) == (method, name)), ENDPOINTS[0])
            assert answer.status != 200 or (known.method, known.name) == (method, name)
            conforms(known, answer)
