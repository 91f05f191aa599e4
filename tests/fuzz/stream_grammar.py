# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A grammar of what a client writes on one connection: requests behind each other, with the tricks of request smuggling."""

from __future__ import annotations

import random

_LINES = [
    b"GET /_ping",
    b"HEAD /_ping",
    b"POST /v1.45/containers/create",
    b"DELETE /v1.45/containers/x",
    b"PUT /v1.45/containers/x/archive?path=/",
]
_FIELDS = [
    b"User-Agent: x", b"Accept: */*", b"Connection: keep-alive", b"Connection: Upgrade", b"Upgrade: tcp", b"X-Registry-Auth: e30=", b"A:",
    b"A: \t b \t",
    b"Content-Type: application/json", b"Cookie: a=b", b"Expect: 100-continue", b"TE: trailers", b"X-A: Content-Length: 5",
]  # fmt: skip
_ODD_FIELDS = [
    b"Content-Length: 5", b"Content-Length: 05", b"Content-Length: +5", b"Content-Length: 5, 5", b"content-length : 5",
    b"Content-Length:\t5",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunked, identity", b"transfer-encoding:chunked",
    b"Transfer-Encoding:\x0bchunked", b" Transfer-Encoding: chunked", b"Transfer-Encoding\t: chunked", b"Host: e", b"X: a\rb",
    b"X: a\x00b", b"X: \xff",
    b"Expect: x", b": x", b"From x", b"X", b"Content_Length: 5", b"Content-Length: 1_0", b"X:" + b"y" * 300, b"Trailer: Content-Length",
]  # fmt: skip
_VERSIONS = [b" HTTP/1.1", b" HTTP/1.0", b" HTTP/1.2", b" HTTP/2.0", b"  HTTP/1.1", b" HTTP/1.1 x", b"\tHTTP/1.1", b" http/1.1", b""]
_INSERTED = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\x00",
    b" ",
    b"\t",
    b":",
    b";",
    b"0\r\n\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: s\r\n\r\n",
    b"\xc2\xa0",
    b"5\r\n",
]
_SIZES = ["%x", "%X", "0%x", "%x;a=b", " %x", "%x ", "0x%x", "+%x", "-%x", "%x\n", "000000000%x"]


def stream(rng: random.Random) -> tuple[bytes, int]:
    """What is written, and how many requests it was meant to hold."""
    wild = rng.random() < 0.6
    count = rng.randrange(1, 4)
    raw = b"".join(_request(rng, wild) for _ in range(count))
    if wild and rng.random() < 0.5:
        for _ in range(rng.randrange(1, 3)):
            at = rng.randrange(len(raw))
            kind = rng.random()
            if kind < 0.5:
                raw = raw[:at] + rng.choice(_INSERTED) + raw[at:]
            elif kind < 0.8:
                raw = raw[:at] + raw[at + rng.randrange(1, 4) :]
            else:
                raw = raw[:at] + bytes((rng.randrange(256),)) + raw[at + 1 :]
    return raw, count


def cut(rng: random.Random, raw: bytes) -> list[bytes]:
    """The pieces in which it arrives."""
    if rng.random() < 0.5:
        return [raw]
    pieces, at = [], 0
    while at < len(raw):
        size = rng.choice((1, 2, 3, 7, 50, 500))
        pieces.append(raw[at : at + size])
        at += size
    return pieces


def _request(rng: random.Random, wild: bool) -> bytes:
    odd = wild and rng.random() < 0.4
    version = rng.choice(_VERSIONS) if odd and rng.random() < 0.3 else rng.choice(_VERSIONS[:1] * 9 + [b" HTTP/1.0"])
    fields = [b"Host: d", *rng.sample(_FIELDS, rng.randrange(4))]
    if len({field.partition(b":")[0] for field in fields}) < len(fields):
        fields = fields[:1]
    body = b""
    way = rng.random()
    if way < 0.3:
        body = rng.randbytes(rng.randrange(40))
        fields.append(b"Content-Length: %d" % len(body))
    elif way < 0.6 and version == b" HTTP/1.1":
        fields.append(rng.choice((b"Transfer-Encoding: chunked", b"transfer-encoding: Chunked")))
        body = _chunks(rng, odd)
    if odd and rng.random() < 0.6:
        fields.insert(rng.randrange(len(fields) + 1), rng.choice(_ODD_FIELDS))
    if not odd:
        rng.shuffle(fields)
    line = rng.choice(_LINES)
    end = b"\n" if odd and rng.random() < 0.05 else b"\r\n"
    return line + version + end + b"".join(field + end for field in fields) + end + body


def _chunks(rng: random.Random, odd: bool) -> bytes:
    raw = b""
    for _ in range(rng.randrange(4)):
        data = rng.randbytes(rng.randrange(1, 30)) if rng.random() < 0.7 else rng.choice((b"0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"))
        form = rng.choice(_SIZES) if odd and rng.random() < 0.3 else rng.choice(_SIZES[:3])
        raw += (form % len(data)).encode() + b"\r\n" + data + (b"\n" if odd and rng.random() < 0.1 else b"\r\n")
    trailer = rng.choice((b"X: y\r\n", b"Content-Length: 3\r\n", b" \r\n")) if odd and rng.random() < 0.2 else b""
    return raw + rng.choice((b"0", b"00", b"0")) + b"\r\n" + trailer + b"\r\n"
