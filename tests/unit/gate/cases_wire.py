# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Attacks by HTTP itself: heads that two readers take differently, and header fields that must not reach dockerd."""

from __future__ import annotations

HOST = b"Host: d\r\n"


def head(line: bytes, *fields: bytes) -> bytes:
    """A head with its lines."""
    return line + b"\r\n" + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


POST = b"POST /containers/create HTTP/1.1"
GET = b"GET /_ping HTTP/1.1"

HEADS: list[tuple[str, bytes, int]] = [
    ("length and coding, length first", head(POST, b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400),
    ("coding and length, coding first", head(POST, b"Transfer-Encoding: chunked", b"Content-Length: 0"), 400),
    ("two lengths that differ", head(POST, b"Content-Length: 5", b"Content-Length: 6"), 400),
    ("two lengths in odd case", head(POST, b"Content-Length: 5", b"content-LENGTH: 5"), 400),
    ("lengths in a list", head(POST, b"Content-Length: 5, 5"), 400),
    ("length with a sign", head(POST, b"Content-Length: -1"), 400),
    ("length in hexadecimal", head(POST, b"Content-Length: 0x5"), 400),
    ("length with a fraction", head(POST, b"Content-Length: 5.0"), 400),
    ("length of nothing", head(POST, b"Content-Length:"), 400),
    ("length of 2^64", head(POST, b"Content-Length: 18446744073709551616"), 400),
    ("length with a space inside", head(POST, b"Content-Length: 1 0"), 400),
    ("length with an underscore", head(POST, b"Content-Length: 1_0"), 400),
    ("coding with a parameter", head(POST, b"Transfer-Encoding: chunked;x=1"), 400),
    ("coding after gzip", head(POST, b"Transfer-Encoding: gzip, chunked"), 400),
    ("coding identity", head(POST, b"Transfer-Encoding: identity"), 400),
    ("coding with a vertical tab", head(POST, b"Transfer-Encoding:\x0bchunked"), 400),
    ("coding of nothing", head(POST, b"Transfer-Encoding:"), 400),
    ("coding with a space before the colon", head(POST, b"Transfer-Encoding : chunked"), 400),
    ("coding folded", head(POST, b"Transfer-Encoding:", b" chunked"), 400),
    ("coding in HTTP/1.0", head(b"POST /containers/create HTTP/1.0", b"Transfer-Encoding: chunked"), 400),
    ("coding in quotes", head(POST, b'Transfer-Encoding: "chunked"'), 400),
    ("folded with a tab", head(GET, b"X: 1", b"\tfolded"), 400),
    ("line without a colon", head(GET, b"Transfer-Encoding chunked"), 400),
    ("line of an empty name", head(GET, b": x"), 400),
    ("name with a NUL", head(GET, b"X\x00: 1"), 400),
    ("name in Latin-1", head(GET, b"X\xe9: 1"), 400),
    ("name in brackets", head(GET, b"(Content-Length): 5"), 400),
    ("value with DEL", head(GET, b"X: \x7f"), 400),
    ("value with a bare CR", head(GET, b"X: a\rTransfer-Encoding: chunked"), 400),
    ("value with a bare LF", head(GET, b"X: a\nTransfer-Encoding: chunked"), 400),
    ("host twice", head(GET, b"Host: evil"), 400),
    ("no host", b"GET /_ping HTTP/1.1\r\nX: y\r\n\r\n", 400),
    ("content type twice", head(POST, b"Content-Type: application/json", b"Content-Type: multipart/form-data"), 400),
    ("upgrade twice", head(POST, b"Upgrade: tcp", b"Upgrade: h2c"), 400),
    ("expectation of something else", head(POST, b"Expect: 200-ok"), 417),
    ("expectation twice", head(POST, b"Expect: 100-continue", b"Expect: 100-continue"), 400),
    ("blank lines before", b"\r\n" + head(GET), 400),
    ("space before the method", b" " + head(GET), 400),
    ("two spaces", b"GET  /_ping HTTP/1.1\r\nHost: d\r\n\r\n", 400),
    ("tab as a space", b"GET\t/_ping\tHTTP/1.1\r\nHost: d\r\n\r\n", 400),
    ("a fourth word", b"GET /_ping HTTP/1.1 x\r\nHost: d\r\n\r\n", 400),
    ("no version", b"GET /_ping\r\nHost: d\r\n\r\n", 400),
    ("version 1.2", b"GET /_ping HTTP/1.2\r\nHost: d\r\n\r\n", 400),
    ("version 2.0", b"GET /_ping HTTP/2.0\r\nHost: d\r\n\r\n", 400),
    ("version 01.1", b"GET /_ping HTTP/01.1\r\nHost: d\r\n\r\n", 400),
    ("version in lower case", b"GET /_ping http/1.1\r\nHost: d\r\n\r\n", 400),
    ("method with a digit", b"GET1 /_ping HTTP/1.1\r\nHost: d\r\n\r\n", 400),
    ("method of a hundred letters", b"G" * 100 + b" /_ping HTTP/1.1\r\nHost: d\r\n\r\n", 400),
    ("method of two lines", b"GET\r\n /_ping HTTP/1.1\r\nHost: d\r\n\r\n", 400),
    ("absolute target", b"GET http://d/_ping HTTP/1.1\r\nHost: d\r\n\r\n", 400),
    ("absolute target with a user", b"GET https://u:p@d:1/_ping HTTP/1.1\r\nHost: d\r\n\r\n", 400),
    ("authority target", b"CONNECT d:22 HTTP/1.1\r\nHost: d\r\n\r\n", 400),
    ("asterisk target", b"OPTIONS * HTTP/1.1\r\nHost: d\r\n\r\n", 400),
    ("target without a slash", b"GET _ping HTTP/1.1\r\nHost: d\r\n\r\n", 400),
    ("target in UTF-8", "GET /\u00e9 HTTP/1.1\r\nHost: d\r\n\r\n".encode(), 400),
    ("target with a space", b"GET /a b HTTP/1.1\r\nHost: d\r\n\r\n", 400),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ("a field of 300 letters", head(GET, b"X" * 300 + b": 1"), 400),
    ("101 fields", head(GET, *(b"X%d: 1" % n for n in range(100))), 431),
]

FORWARDED_HEADERS: list[tuple[str, dict[str, str], dict[str, str]]] = [
    ("hop by hop names others", {"Connection": "close, X-Registry-Auth, Host"}, {}),
    ("upgrade to h2c where none is", {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}, {}),
    ("upgrade to tcp where none is", {"Connection": "Upgrade", "Upgrade": "tcp"}, {}),
    ("forwarded for somebody", {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-User": "root", "Forwarded": "for=root"}, {}),
    ("method by another header", {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"}, {}),
    ("target by another header", {"X-Original-URL": "/containers/bobs/json", "X-Rewrite-URL": "/info"}, {}),
    ("authority of somebody", {"Authorization": "Basic cm9vdDo=", "Cookie": "user=root"}, {}),
    ("trailers", {"Trailer": "Content-Length", "TE": "trailers"}, {}),
    ("range", {"Range": "bytes=0-", "If-Match": "*"}, {}),
    ("session of BuildKit elsewhere", {"X-Docker-Expose-Session-Uuid": "1"}, {}),
    ("accept with a parameter", {"Accept": "application/json; q=1"}, {"Accept": "application/json; q=1"}),
    ("accept of odd letters", {"Accept": 'text/html"<script>'}, {}),
    ("credentials for a registry", {"X-Registry-Auth": "e30="}, {"X-Registry-Auth": "e30="}),
]
