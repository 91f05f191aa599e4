# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A client's side of a connection: heads and bodies read strictly and within limits, answers written."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator

from ds01.core.gate.chunked import BadChunk, ChunkDecoder
from ds01.core.gate.request_head import BadHead, RequestHead, head_end, parse_head

READ_BYTES = 256 * 1024
_RDHUP = getattr(select, "POLLRDHUP", 0x2000)


class ClientGone(Exception):
    """The client has closed the connection or does not read any more."""


class BodyRefused(Exception):
    """The body can't be read: ``status`` is what to answer. The connection is of no further use."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ClientStream:
    """The connection and what was read ahead of it."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._buffer = bytearray()
        self.body_read = True

    def leftover(self) -> bytes:
        """What was read ahead; it is forgotten here."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def send(self, data: bytes) -> None:
        """Send everything; raises ClientGone."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise ClientGone(str(error)) from error

    def _fill(self, deadline: float | None) -> bool:
        """Read what there is; False at the end of the stream. Raises TimeoutError at the deadline (monotonic), ClientGone."""
        try:
            if deadline is not None:
                self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(READ_BYTES)
            finally:
                self.socket.settimeout(None)
        except TimeoutError:
            raise
        except OSError as error:
            raise ClientGone(str(error)) from error
        self._buffer += data
        return bool(data)

    def head(self, idle_seconds: float, head_seconds: float) -> RequestHead | None:
        """The next request's head; None when the client has no more.

        Raises BadHead (also when the head comes too slowly) and ClientGone.
        """
        if not self._buffer:
            with contextlib.suppress(TimeoutError):
                if not self._fill(time.monotonic() + idle_seconds):
                    return None
            if not self._buffer:
                return None
        deadline = time.monotonic() + head_seconds
        while not (end := head_end(self._buffer)):
            try:
                if not self._fill(deadline):
                    raise ClientGone("closed in the middle of a request head")
            except TimeoutError:
                raise BadHead(408, f"the request head did not arrive within {head_seconds:.0f} s") from None
        raw = bytes(self._buffer[:end])
        del self._buffer[:end]
        head = parse_head(raw)
        self.body_read = not head.has_body
        return head

    def body(self, head: RequestHead, limit: int, seconds: float) -> bytes:
        """The whole body, at most ``limit`` bytes, ``seconds`` at most between two pieces. Raises BodyRefused and ClientGone."""
        if head.length is not None and head.length > limit:
            raise BodyRefused(413, f"the body has {head.length} bytes; at most {limit} are read here")
        pieces, size = [], 0
        try:
            for piece in self.pieces(head, seconds):
                size += len(piece)
                if size > limit:
                    raise BodyRefused(413, f"the body is longer than {limit} bytes")
                pieces.append(piece)
        except TimeoutError:
            raise BodyRefused(408, f"the body stopped arriving for {seconds:.0f} s") from None
        return b"".join(pieces)

    def pieces(self, head: RequestHead, seconds: float | None = None) -> Iterator[bytes]:
        """The decoded body as it comes. Raises BodyRefused, ClientGone, and TimeoutError after ``seconds`` without a byte."""
        if head.chunked:
            yield from self._chunks(seconds)
        elif head.length:
            left = head.length
            while left:
                if not self._buffer:
                    self._more(seconds)
                piece = bytes(self._buffer[:left])
                del self._buffer[: len(piece)]
                left -= len(piece)
                yield piece
        self.body_read = True

    def _more(self, seconds: float | None) -> None:
        if not self._fill(None if seconds is None else time.monotonic() + seconds):
            raise ClientGone("closed in the middle of a body")

    def _chunks(self, seconds: float | None) -> Iterator[bytes]:
        decoder = ChunkDecoder()
        while not decoder.done:
            if not self._buffer:
                self._more(seconds)
            try:
                piece = decoder.feed(self.leftover())
            except BadChunk as error:
                raise BodyRefused(400, str(error)) from error
            if piece:
                yield piece
        self._buffer[:0] = decoder.rest

    def wait_for(self, other: socket.socket, *, uploading: bool = False) -> None:
        """Wait until ``other`` can be read.

        A client that stops writing meanwhile is passed on to ``other`` as that, which dockerd takes as it takes it from a client
        of its own: it ends waits and streams and still answers the rest. While its body is ``uploading`` that is for whoever
        copies it. Raises ClientGone when the client is gone.
        """
        poller = select.poll()
        poller.register(self.socket, 0 if uploading else _RDHUP)
        poller.register(other, select.POLLIN)
        while True:
            seen = dict(poller.poll())
            if other.fileno() in seen:
                return
            if seen.get(self.socket.fileno(), 0) & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                raise ClientGone("closed while waiting for the answer")
            poller.modify(self.socket, 0)
            with contextlib.suppress(OSError):
                other.shutdown(socket.SHUT_WR)

    def finish(self) -> None:
        """Close the connection so that a client that is still sending can read the answer first."""
        with contextlib.suppress(OSError, ClientGone):
            self.socket.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + 1.0
            while not self.body_read and self._fill(deadline) and time.monotonic() < deadline:
                self._buffer.clear()
        with contextlib.suppress(OSError):
            self.socket.close()
