# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The head of an HTTP/1 request: read strictly, written anew.

The grammar is RFC 9112 without everything that two parsers might read differently: no bare LF, no folded lines, no bytes outside visible
ASCII, one length only. What does not match is refused; nothing is repaired.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_HEAD = 64 * 1024
MAX_FIELDS = 100

# request-line = method SP request-target SP HTTP-version CRLF; field-line = field-name ":" OWS field-value OWS CRLF (RFC 9112, 3 and 5)
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_HEAD = re.compile(rb"([A-Z]{3,10}) (/[!-~]*) HTTP/1\.([01])\r\n((?:" + _TOKEN + rb"{1,256}:[\t -~]*\r\n)*)\r\n")
_LENGTH = re.compile(r"[0-9]{1,18}")
_SAFE_VALUE = re.compile(r"[\t -~]*")
_SAFE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REPEATABLE = frozenset(
    (
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "cookie",
        "te",
        "via",
        "x-docker-expose-session-grpc-method",
    )
)


class BadHead(Exception):
    """The head cannot be understood in one way only. ``status`` is the HTTP status to answer before closing the connection."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class RequestHead:
    """A request head. ``headers`` have lower-case names and keep their order; ``length`` is None with ``chunked`` or without a body."""

    method: str
    target: str
    minor: int
    headers: tuple[tuple[str, str], ...]
    length: int | None
    chunked: bool

    def header(self, name: str) -> str | None:
        """The value of the first field of that (lower-case) name."""
        return next((value for key, value in self.headers if key == name), None)

    def _lists(self, name: str, word: str) -> bool:
        return any(word == item.strip().lower() for key, value in self.headers if key == name for item in value.split(","))

    @property
    def has_body(self) -> bool:
        """Whether bytes of a body follow the head."""
        return self.chunked or bool(self.length)

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants to use the connection again (RFC 9112, 9.3)."""
        if self._lists("connection", "close"):
            return False
        return self.minor == 1 or self._lists("connection", "keep-alive")

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for ``100 Continue`` before it sends the body."""
        return self.header("expect") is not None

    @property
    def upgrade(self) -> str | None:
        """The protocol the client asks to change to, in lower case, if ``Connection`` names the upgrade too."""
        wanted = self.header("upgrade")
        return wanted.strip().lower() if wanted and self._lists("connection", "upgrade") else None


def head_end(buffer: bytes | bytearray) -> int:
    """How many bytes at the start of ``buffer`` are the head, 0 when its end has not arrived.

    Raises ``BadHead`` (431) when more than MAX_HEAD bytes came without an end.
    """
    at = buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
    if at >= 0:
        return at + 4
    if len(buffer) >= MAX_HEAD:
        raise BadHead(431, f"the request head is longer than {MAX_HEAD} bytes")
    return 0


def parse_head(raw: bytes) -> RequestHead:
    """The request head in ``raw``, which ends with its empty line. Raises ``BadHead`` with what is wrong."""
    if len(raw) > MAX_HEAD:
        raise BadHead(431, f"the request head is longer than {MAX_HEAD} bytes")
    match = _HEAD.fullmatch(raw)
    if match is None:
        raise BadHead(
            400, "malformed request head: expected 'METHOD /path HTTP/1.1' and 'Name: value' lines of visible ASCII, each ended by CRLF"
        )
    lines = match.group(4).decode("ascii").split("\r\n")[:-1]
    if len(lines) > MAX_FIELDS:
        raise BadHead(431, f"the request head has {len(lines)} fields; at most {MAX_FIELDS} are read")
    headers = tuple((name.lower(), value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines))
    minor = int(match.group(3))
    length, chunked = _framing(headers, minor)
    return RequestHead(match.group(1).decode("ascii"), match.group(2).decode("ascii"), minor, headers, length, chunked)


def _framing(headers: tuple[tuple[str, str], ...], minor: int) -> tuple[int | None, bool]:
    """(Content-Length, chunked). Refuses every repetition and combination that RFC 9112, 6.3 has to explain."""
    seen: dict[str, str] = {}
    for name, value in headers:
        if name in seen and name not in _REPEATABLE:
            raise BadHead(400, f"header {name!r} is given twice")
        seen[name] = value
    if minor == 1 and "host" not in seen:
        raise BadHead(400, "an HTTP/1.1 request needs one Host header")
    if "expect" in seen and seen["expect"].lower() != "100-continue":
        raise BadHead(417, "the only expectation understood is 100-continue")
    coding = seen.get("transfer-encoding")
    length = seen.get("content-length")
    if coding is not None:
        if length is not None:
            raise BadHead(400, "a request has Content-Length or Transfer-Encoding, not both")
        if coding.lower() != "chunked" or minor == 0:
            raise BadHead(400, "the only transfer coding understood is 'chunked', in HTTP/1.1")
        return None, True
    if length is None:
        return None, False
    if _LENGTH.fullmatch(length) is None:
        raise BadHead(400, f"Content-Length {length!r} is not a plain decimal number")
    return int(length), False


def serialise(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]],
    *,
    length: int | None = None,
    chunked: bool = False,
    upgrade: str | None = None,
) -> bytes:
    """A request head for the daemon, with Host, framing and Connection. Raises ValueError for anything that would not parse back."""
    if length is not None and chunked:
        raise ValueError("a request head has a length or is chunked, not both")
    fields = [("Host", "docker"), *headers]
    if chunked:
        fields.append(("Transfer-Encoding", "chunked"))
    elif length is not None:
        fields.append(("Content-Length", str(length)))
    if upgrade is not None:
        fields += [("Connection", "Upgrade"), ("Upgrade", upgrade)]
    for name, value in fields:
        if _SAFE_NAME.fullmatch(name) is None or _SAFE_VALUE.fullmatch(value) is None:
            raise ValueError(f"header {name!r} with value {value!r} cannot be written")
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
    raw = head.encode("ascii")
    if _HEAD.fullmatch(raw) is None:
        raise ValueError(f"request line {method!r} {target!r} cannot be written")
    return raw
