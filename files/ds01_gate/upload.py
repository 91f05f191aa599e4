# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The body of a request on its way to dockerd, framed anew, with as few copies as there can be.

A body of a known length keeps it, and its bytes never enter this process: ``splice(2)`` moves them from socket to socket. A chunked body is
decoded in the buffer it was read into and sent as one chunk for all that came at once. A body that breaks off breaks the connection to
dockerd off, which must not take it for whole.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator, Sequence

from ds01_splice.pump import sized_pipe

from ds01.core.gate.chunked import LAST_CHUNK
from ds01.core.gate.request_head import RequestHead
from ds01.docker_upstream import DaemonUnavailable, Link
from ds01_gate.archive_upload import Approve, checked
from ds01_gate.client_stream import BodyRefused, ClientGone, ClientStream

_MOST_PARTS = 256
"""Of one ``sendmsg``; the kernel takes 1,024. More and smaller parts are cheaper copied together."""


class Upload:
    """One body. ``refusal`` says afterwards why an archive was refused."""

    def __init__(self, client: ClientStream, head: RequestHead, link: Link, approve: Approve | None) -> None:
        """``approve`` judges the names in an archive of images; None for a body that is no such archive."""
        self._client = client
        self._head = head
        self._link = link
        self._approve = approve
        # Copies of their own: the answer's thread may close the connections, and their numbers may become somebody else's.
        self._source = client.socket.dup()
        self._sink = link.socket.dup()
        self.refusal: Exception | None = None

    def run(self) -> None:
        """Copy all of it."""
        try:
            if self._approve is not None:
                self._send_chunks(self._approved(self._approve))
            elif known_length(self._head) is not None:
                self._send_plain()
            else:
                self._send_chunks(self._client.batches(self._head))
        except (ClientGone, BodyRefused, DaemonUnavailable, OSError):
            with contextlib.suppress(OSError):
                self._sink.shutdown(socket.SHUT_WR)
        finally:
            self._source.close()
            self._sink.close()

    def _approved(self, approve: Approve) -> Iterator[list[bytes | memoryview]]:
        """The pieces of an archive. One that is refused breaks off, so that dockerd takes nothing of it."""
        try:
            yield from checked(self._client.pieces(self._head), approve)
        except (ClientGone, BodyRefused):
            raise
        except Exception as error:
            self.refusal = error
            raise BodyRefused(400, "the archive is refused") from error

    def _send_chunks(self, batches: Iterable[Sequence[bytes | memoryview]]) -> None:
        for batch in batches:
            size = sum(map(len, batch))
            if size:
                parts = batch if len(batch) <= _MOST_PARTS else [b"".join(batch)]
                self._link.send_parts([b"%x\r\n" % size, *parts, b"\r\n"])
        self._link.send(LAST_CHUNK)

    def _send_plain(self) -> None:
        left = self._client.pour_ahead(self._head.length or 0, self._link.send)
        read_end, write_end, capacity = sized_pipe(blocking=True)
        try:
            while left:
                left -= self._moved(read_end, write_end, min(left, capacity))
        finally:
            os.close(read_end)
            os.close(write_end)
        self._client.body_read = True

    def _moved(self, read_end: int, write_end: int, most: int) -> int:
        """Move what the client has sent; how many bytes."""
        size = os.splice(self._source.fileno(), write_end, most)
        if not size:
            raise ClientGone("closed in the middle of a body")
        waiting = size
        while waiting:
            waiting -= os.splice(read_end, self._sink.fileno(), waiting)
        return size


def known_length(head: RequestHead) -> int | None:
    """The length of a body that may be passed on with it; None for one that is chunked or not there."""
    return None if head.chunked or not head.length else head.length
