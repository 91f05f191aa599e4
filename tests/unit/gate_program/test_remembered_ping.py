# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which requests a remembered ping answers: the very same one, for half a second, and no other."""

from __future__ import annotations

import pytest
from ds01_gate.remembered_ping import SECONDS, remembered

from ds01.core.gate.request_head import parse_head

SAID = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
RAW = b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n"
HEAD = parse_head(RAW)


def test_the_same_ping_is_answered_for_half_a_second() -> None:
    ping = remembered("GET /_ping", HEAD, 200, SAID, 100.0)
    assert ping is not None
    assert ping.said == SAID
    assert ping.answers(parse_head(RAW), 100.0 + SECONDS - 0.01)
    assert not ping.answers(parse_head(RAW), 100.0 + SECONDS)
    assert SECONDS <= 1.0, "what policy says anew has to hold within a second"


@pytest.mark.parametrize(
    "raw",
    [
        b"HEAD /_ping HTTP/1.1\r\nHost: d\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n",
        b"GET /_ping HTTP/1.0\r\nHost: d\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nHost: d\r\nContent-Length: 1\r\n\r\n",
        b"GET /_ping?x HTTP/1.1\r\nHost: d\r\n\r\n",
        b"GET /containers/json HTTP/1.1\r\nHost: d\r\n\r\n",
        b"DELETE /_ping HTTP/1.1\r\nHost: d\r\n\r\n",
    ],
)
def test_nothing_else_is(raw: bytes) -> None:
    ping = remembered("GET /_ping", HEAD, 200, SAID, 100.0)
    assert ping is not None
    assert not ping.answers(parse_head(raw), 100.0)


def test_only_a_good_answer_to_a_ping_is_remembered() -> None:
    with_body = parse_head(b"GET /_ping HTTP/1.1\r\nHost: d\r\nContent-Length: 4\r\n\r\n")
    assert remembered("GET /containers/json", HEAD, 200, SAID, 0.0) is None
    assert remembered("GET /_ping", HEAD, 500, SAID, 0.0) is None
    assert remembered("GET /_ping", HEAD, None, SAID, 0.0) is None
    assert remembered("GET /_ping", HEAD, 200, b"", 0.0) is None
    assert remembered("GET /_ping", with_body, 200, SAID, 0.0) is None
