# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a client writes, however it is cut and mutated: every request that the gate reads is what the standard library reads there."""

from __future__ import annotations

import http.server
import io
import re
from collections.abc import Iterator

from ds01_gate.client_stream import BodyRefused, ClientGone, ClientStream

from ds01.core.gate.request_head import BadHead
from tests.fuzz.fuzz_effort import Tally
from tests.fuzz.stream_grammar import cut, stream

Reading = tuple[str, str, list[tuple[str, str]], bytes]
_SIZE = re.compile(rb"[0-9a-fA-F]+")


class Pieces:
    """A socket from which the pieces can be read one after the other."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def setsockopt(self, _level: int, _option: int, _value: bytes) -> None:
        """Nothing here takes time."""

    def recv(self, most: int) -> bytes:
        """Of the next piece as much as is wanted; nothing at the end."""
        piece = self._rest or next(self._pieces, b"")
        self._rest = piece[most:]
        return piece[:most]

    def recv_into(self, space: memoryview) -> int:
        """The same, into a buffer."""
        piece = self.recv(len(space))
        space[: len(piece)] = piece
        return len(piece)


def read_by_the_gate(pieces: list[bytes]) -> Iterator[Reading]:
    """Request after request until the gate would close the connection."""
    client = ClientStream(Pieces(pieces))  # type: ignore[arg-type]
    while True:
        try:
            head = client.head(1, 1)
            if head is None:
                return
            yield head.method, head.target, sorted(head.headers), client.body(head, 1 << 20, 1)
        except (BadHead, BodyRefused, ClientGone):
            return


class Reference(http.server.BaseHTTPRequestHandler):
    """The standard library's server, reading one request."""

    def __init__(self, rfile: io.BytesIO) -> None:
        self.rfile = rfile  # type: ignore[assignment]
        self.raw_requestline = rfile.readline(65537)
        self.refused = not self.raw_requestline or not self.parse_request()
        if not self.refused:
            self.path = self.raw_requestline.split()[1].decode("latin-1")  # parse_request takes // for / at its start

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """It would answer so."""

    def handle_expect_100(self) -> bool:
        """Nothing to send."""
        return True

    def reading(self) -> Reading:
        """The request with its body."""
        headers = sorted((name.lower(), value.strip(" \t")) for name, value in self.headers.items())
        return self.command, self.path, headers, self._body()

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").strip().lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", "0")))
        body = b""
        while True:
            size = self.rfile.readline().strip()
            if _SIZE.fullmatch(size) is None:
                raise ValueError(f"size {size!r}")
            if int(size, 16) == 0:
                while self.rfile.readline().strip():
                    continue
                return body
            body += self.rfile.read(int(size, 16))
            self.rfile.readline()


def test_streams() -> None:
    tally = Tally("connections", 0.25)
    requests = 0
    for rng in tally.rounds():
        raw, meant = stream(rng)
        rfile = io.BytesIO(raw)
        accepted = 0
        for reading in read_by_the_gate(cut(rng, raw)):
            reference = Reference(rfile)
            assert not reference.refused, f"{tally.where}: only the gate reads {reading} in {raw!r}"
            assert reference.reading() == reading, f"{tally.where}: read differently in {raw!r}"
            accepted += 1
        requests += accepted
        tally.forwarded += accepted == meant
    print(f"\n{requests} requests were read in {tally.done} connections")
    tally.report(0.2)
