# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The parsers by property: what they accept has one reading, what they write reads back, and an independent parser agrees."""

from __future__ import annotations

import http.client
import http.server
import io
import json
import socket
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.gate import strict_json
from ds01.core.gate.chunked import LAST_CHUNK, BadChunk, ChunkDecoder, encode_chunk
from ds01.core.gate.path import BadPath, decode_name, match_template, parse_path, rebuild
from ds01.core.gate.query import encode_query, parse_query
from ds01.core.gate.request_head import BadHead, head_end, parse_head, serialise
from ds01.core.gate.route import Param
from ds01.core.gate.routes import ROUTES
from ds01.core.gate.rules import RULES
from tests.search_effort import tries

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)


def _unfolded(value: dict[str, Any]) -> dict[str, Any]:
    return dict({key.lower(): (key, item) for key, item in value.items()}.values())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4).map(_unfolded),
    max_leaves=12,
)


@given(VALUES)
def test_json_is_written_canonically(value: Any) -> None:
    raw = strict_json.dump(value)
    assert strict_json.parse(raw) == value
    assert strict_json.dump(strict_json.parse(raw)) == raw


@given(
    st.binary(max_size=60)
    | st.text(alphabet='{}[]",:\\u0041truefalsn-.eE19 \u017f\ud800', max_size=40).map(lambda t: t.encode("utf-8", "surrogatepass"))
)
@tries(250)
def test_json_accepts_only_what_the_standard_parser_reads_alike(raw: bytes) -> None:
    try:
        value = strict_json.parse(raw)
    except strict_json.StrictJsonError:
        return
    assert json.loads(raw.decode()) == value


PATHS = [
    (b'{"a":[1,{"b":1.5}]}', "a[1].b"),
    (b'{"HostConfig":{"Memory":8e6}}', "HostConfig.Memory"),
    (b'{"HostConfig":{"Memory":123456789012345678901234567890}}', "HostConfig.Memory"),
    (b'{"A":{"b":1,"B":2}}', "A.B"),
    ('{"A":{"\u212a":1}}'.encode(), "'A.\\u212a'"),
    (b'{"a":["\\ud800"]}', "a[0]"),
    (b'{"a":"x\\u0000y"}', "a"),
]


@pytest.mark.parametrize(("raw", "path"), PATHS)
def test_json_errors_name_the_place(raw: bytes, path: str) -> None:
    with pytest.raises(strict_json.StrictJsonError) as error:
        strict_json.parse(raw)
    assert error.value.path == path
    assert str(error.value).startswith(path)


@pytest.mark.parametrize("raw", [b'"' + b'\\"' * 400_000, b'["' * 10 + b'\\"' * 300_000, b"[" * 33 + b"]" * 33, b"{" * 500_000])
def test_json_of_an_attacker_is_refused_in_linear_time(raw: bytes) -> None:
    with pytest.raises(strict_json.StrictJsonError):
        strict_json.parse(raw)


def test_brackets_in_strings_are_no_depth() -> None:
    assert strict_json.parse(b'{"a":"' + b"[{" * 500 + b'"}') == {"a": "[{" * 500}
    assert strict_json.parse(b'{"\\"[[":"' + b"[" * 500 + b'\\\\"}') == {'"[[': "[" * 500 + "\\"}


TOKEN = st.text("abcXYZ019-_.!~", min_size=1, max_size=10)
HEAD_VALUE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
TARGET = st.text("/abc019%._-?=&:@", max_size=30).map(lambda tail: "/" + tail.lstrip("/"))


@given(
    st.sampled_from(("GET", "POST", "PUT", "DELETE", "HEAD")),
    TARGET,
    st.dictionaries(TOKEN.map(lambda name: "X-" + name), HEAD_VALUE, max_size=5),
    st.none() | st.integers(0, 10**9),
)
def test_heads_read_back_and_the_standard_library_agrees(method: str, target: str, fields: dict[str, str], length: int | None) -> None:
    if len({name.lower() for name in fields}) < len(fields):
        return
    raw = serialise(method, target, fields.items(), length=length)
    head = parse_head(raw)
    assert (head.method, head.target, head.length) == (method, target, length)
    assert {name: value for name, value in head.headers if name.startswith("x-")} == {name.lower(): value for name, value in fields.items()}
    oracle = _oracle(raw)
    assert (oracle.command, oracle.path) == (method, target)
    assert sorted((name.lower(), value.strip()) for name, value in oracle.headers.items()) == sorted(head.headers)


class _Oracle(http.server.BaseHTTPRequestHandler):
    def __init__(self, raw: bytes) -> None:
        self.rfile = io.BytesIO(raw)
        self.raw_requestline = self.rfile.readline()
        self.error_code: int | None = None
        self.parse_request()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.error_code = code


def _oracle(raw: bytes) -> _Oracle:
    return _Oracle(raw)


PIECES = [
    b"GET",
    b"POST",
    b" ",
    b"/",
    b"/x?y=1",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"\r\n",
    b"\n",
    b"\r",
    b"Host: d",
    b"Host:d",
    b" folded",
    b"\t",
    b"\0",
    b"A: b",
]
PIECES += [
    b"Content-Length: 5",
    b"Content-Length: 05",
    b"Content-Length: 5, 5",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding:\tChunked",
    b":",
    b"\xff",
]


@given(
    st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)
    | st.lists(st.sampled_from(PIECES[5:]), max_size=6).map(lambda x: b"GET /a HTTP/1.1\r\nHost: d\r\n" + b"".join(x) + b"\r\n\r\n")
)
@tries(250)
def test_every_head_that_is_accepted_has_one_reading(raw: bytes) -> None:
    try:
        head = parse_head(raw)
    except BadHead as error:
        assert error.status in (400, 417, 431)
        return
    assert raw.endswith(b"\r\n\r\n")
    assert raw.count(b"\n") == raw.count(b"\r\n") == raw.count(b"\r")
    assert not (head.chunked and head.length is not None)
    assert head_end(raw + b"next") == len(raw)
    oracle = _oracle(raw)
    assert oracle.error_code is None
    assert (oracle.command, oracle.path) == (head.method, head.target)


def _http_client_reads(raw: bytes) -> tuple[bytes, bytes]:
    """(body, rest) as the standard library decodes a chunked body."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
        theirs.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(ours)
        response.begin()
        stream = response.fp
        body = response.read()
        return body, stream.read() if not stream.closed else b""


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.binary(max_size=10), st.data())
def test_chunks_decode_however_they_are_cut(parts: list[bytes], rest: bytes, data: st.DataObject) -> None:
    raw = b"".join(map(encode_chunk, parts)) + LAST_CHUNK
    stream = raw + rest
    decoder, out, at = ChunkDecoder(), b"", 0
    while at < len(stream):
        step = data.draw(st.integers(1, 7))
        out += b"".join(decoder.feed(stream[at : at + step]))
        at += step
    assert decoder.done
    assert (out, decoder.rest) == (b"".join(parts), rest)
    assert _http_client_reads(raw)[0] == out


CHUNK_PIECES = [b"0", b"1", b"a", b"3", b"\r\n", b"\n", b"\r", b";x=1", b"abc", b" ", b"+", b"0x1", b"-1", b"X: y", b"00000000000"]


@given(st.lists(st.sampled_from(CHUNK_PIECES), max_size=12).map(b"".join))
@tries(250)
def test_what_is_accepted_as_chunked_is_what_the_standard_library_reads(raw: bytes) -> None:
    decoder = ChunkDecoder()
    try:
        out = b"".join(decoder.feed(raw))
    except BadChunk:
        return
    if not decoder.done:
        return
    used = raw[: len(raw) - len(decoder.rest)]
    assert _http_client_reads(used)[0] == out


BAD_CHUNKS = [
    b"3;ext=1\r\nabc\r\n",
    b"3\nabc\n",
    b" 3\r\nabc\r\n",
    b"0x3\r\nabc\r\n",
    b"+3\r\nabc\r\n",
    b"123456789\r\n",
    b"\r\n",
    b"3\r\nabcd\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"3\r\nabc0\r\n\r\n",
    b"g\r\n",
]


@pytest.mark.parametrize("raw", BAD_CHUNKS)
@pytest.mark.parametrize("step", [1, 100])
def test_bad_chunks(raw: bytes, step: int) -> None:
    decoder = ChunkDecoder()
    with pytest.raises(BadChunk):
        for at in range(0, len(raw), step):
            decoder.feed(raw[at : at + step])


@given(TEXT, st.booleans(), st.integers(-(10**17), 10**17), st.lists(TEXT, max_size=3))
def test_queries_read_back(text: str, flag: bool, number: int, several: list[str]) -> None:
    if any(ord(character) < 32 or character == "\x7f" for item in (text, *several) for character in item):
        return
    params = {"t": Param.TEXT, "f": Param.FLAG, "i": Param.INTEGER, "r": Param.REPEATED}
    values = {"t": text, "f": flag, "i": number, **({"r": several} if several else {})}
    assert parse_query(encode_query(values), params) == values


@given(st.text("/v1.4250abc%2fF.:@-_~ ;", max_size=30).map(lambda tail: "/" + tail))
@tries(200)
def test_paths_that_are_accepted_are_clean(raw: str) -> None:
    try:
        path = parse_path(raw)
    except BadPath:
        return
    assert "//" not in raw
    assert not {".", "..", ""} & set(path.segments)
    assert "%" not in path.segments[0]


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
def test_the_table_of_routes(route: Any) -> None:
    assert route.rule in RULES
    if route.template.endswith("**"):
        return
    names = {part[1:-1].rstrip("*"): "a-b_1" for part in route.template.split("/") if part.startswith("{")}
    path = parse_path(rebuild((1, 45), route.template, names))
    assert path.version == (1, 45)
    assert match_template(route.template, path.segments) == names
    first = next(r for r in ROUTES if r.method == route.method and match_template(r.template, path.segments) is not None)
    assert first is route, "an earlier route hides this one"


def test_every_rule_is_used() -> None:
    assert {route.rule for route in ROUTES} == set(RULES)


@given(st.text(max_size=20))
def test_names_are_decoded_once(text: str) -> None:
    try:
        name = decode_name(quote(text, safe=""), image=False)
    except BadPath:
        return
    assert name == text
    assert quote(name, safe="") == name
