# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A client's side of a connection: heads and bodies read strictly and within limits, answers written."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator

from ds01.core.gate.chunked import BadChunk, ChunkDecoder
from ds01.core.gate.request_head import BadHead, RequestHead, head_end, parse_head

HEAD_BYTES = 16 * 1024
BODY_BYTES = 256 * 1024
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
        self._patience: float | None = None
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

    def _wait_at_most(self, seconds: float | None) -> None:
        """How long a read may take from now on. The kernel minds it: a read is one system call then."""
        if seconds != self._patience:
            whole, part = divmod(0.0 if seconds is None else max(0.001, seconds), 1.0)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(whole), int(part * 1e6)))
            self._patience = seconds

    def _fill(self, seconds: float) -> bool:
        """Read what there is; False at the end of the stream. Raises TimeoutError after so long, ClientGone."""
        try:
            self._wait_at_most(seconds)
            data = self.socket.recv(HEAD_BYTES)
        except BlockingIOError:
            raise TimeoutError from None
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
                if not self._fill(idle_seconds):
                    return None
            if not self._buffer:
                return None
        deadline = time.monotonic() + head_seconds
        while not (end := head_end(self._buffer)):
            try:
                if not self._fill(deadline - time.monotonic()):
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
        body = bytearray()
        try:
            for piece in self.pieces(head, seconds):
                if len(body) + len(piece) > limit:
                    raise BodyRefused(413, f"the body is longer than {limit} bytes")
                body += piece
        except TimeoutError:
            raise BodyRefused(408, f"the body stopped arriving for {seconds:.0f} s") from None
        return bytes(body)

    def pieces(self, head: RequestHead, seconds: float | None = None) -> Iterator[memoryview]:
        """The decoded body as it comes; a piece holds until the next is asked for.

        Raises BodyRefused, ClientGone, and TimeoutError after ``seconds`` without a byte.
        """
        for batch in self.batches(head, seconds):
            yield from batch

    def batches(self, head: RequestHead, seconds: float | None = None) -> Iterator[list[memoryview]]:
        """As ``pieces``; what came at once together."""
        if head.chunked:
            yield from self._chunks(seconds)
        elif head.length:
            left = head.length
            space = None
            while left:
                if self._buffer:
                    piece = memoryview(bytes(self._buffer[:left]))
                    del self._buffer[: len(piece)]
                else:
                    space = space or memoryview(bytearray(min(left, BODY_BYTES)))
                    piece = self._more(space[:left], seconds)
                left -= len(piece)
                yield [piece]
        self.body_read = True

    def _more(self, space: memoryview, seconds: float | None) -> memoryview:
        """The part of ``space`` that was filled with what came."""
        try:
            self._wait_at_most(seconds)
            size = self.socket.recv_into(space)
        except BlockingIOError:
            raise TimeoutError from None
        except OSError as error:
            raise ClientGone(str(error)) from error
        if not size:
            raise ClientGone("closed in the middle of a body")
        return space[:size]

    def _chunks(self, seconds: float | None) -> Iterator[list[memoryview]]:
        decoder = ChunkDecoder()
        space = None
        while not decoder.done:
            if self._buffer:
                raw = memoryview(self.leftover())
            else:
                space = space or memoryview(bytearray(BODY_BYTES))
                raw = self._more(space, seconds)
            try:
                batch = decoder.feed(raw)
            except BadChunk as error:
                raise BodyRefused(400, str(error)) from error
            if batch:
                yield batch
        self._buffer[:0] = decoder.rest

    def pour_ahead(self, length: int, send: Callable[[bytes], None]) -> int:
        """Send what was read ahead of a body of that length; how much of it is still to be read, from the socket and without a limit."""
        ahead = bytes(self._buffer[:length])
        del self._buffer[: len(ahead)]
        if ahead:
            send(ahead)
        self._wait_at_most(None)
        return length - len(ahead)

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
            while not self.body_read and (left := deadline - time.monotonic()) > 0 and self._fill(left):
                self._buffer.clear()
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes who still copies its body
        with contextlib.suppress(OSError):
            self.socket.close()
