# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Copies bytes between two connected sockets inside the kernel, each direction ending on its own.

Theory of operation: a direction reads its source into a pipe and writes the pipe to its sink, by ``splice(2)``. End of file at the
source is passed on as a shutdown of the sink's writing side once the pipe is empty, and the other direction goes on: the docker CLI
closes its side at once when it has no input and still wants all output. A socket that is gone in both directions ends the stream as
a whole, because nobody is left to read it.

====================  ======================================  ===============================
seen                  mode DUPLEX (attach, exec, session)      mode RESPONSE (events, logs, wait)
====================  ======================================  ===============================
client stops writing  upstream's writing side is shut down     the same: dockerd takes it as a cancel
upstream ends         client's writing side is shut down       close both once all is written
client is gone        close both                               close both
bytes from client     copied                                   never read
====================  ======================================  ===============================
"""

from __future__ import annotations

import enum
import errno
import fcntl
import os
import select
import socket

PIPE_BYTES = 256 * 1024
_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF})
_SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", 1031)
_RDHUP = getattr(select, "POLLRDHUP", 0x2000)


def sized_pipe(*, blocking: bool) -> tuple[int, int, int]:
    """(end to read, end to write, bytes it holds) of a new pipe."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC | (0 if blocking else os.O_NONBLOCK))
    try:
        return read_end, write_end, fcntl.fcntl(write_end, _SET_PIPE_SIZE, PIPE_BYTES)
    except OSError:
        return read_end, write_end, 65536


class Mode(enum.Enum):
    """What a stream is: see the table of the module."""

    DUPLEX = "duplex"
    RESPONSE = "response"


class _Direction:
    """One way: source → pipe → sink."""

    def __init__(self, source: socket.socket, sink: socket.socket, first: bytes) -> None:
        self.source = source
        self.sink = sink
        self.first = first
        self.pending = 0
        self.ended = False
        self.done = False
        self.read_end, self.write_end, self.capacity = sized_pipe(blocking=False)

    def wants_to_read(self) -> bool:
        return not self.ended and self.pending == 0 and not self.first

    def wants_to_write(self) -> bool:
        return not self.done and (self.pending > 0 or bool(self.first))

    def read(self) -> None:
        """Move what the source has into the pipe."""
        try:
            moved = os.splice(self.source.fileno(), self.write_end, self.capacity, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in _GONE:
                raise
            moved = 0
        if moved == 0:
            self.ended = True
        self.pending += moved

    def write(self) -> None:
        """Move what is waiting to the sink; a sink that is gone ends the direction."""
        try:
            if self.first:
                self.first = self.first[self.sink.send(self.first, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) :]
            elif self.pending:
                self.pending -= os.splice(self.read_end, self.sink.fileno(), self.pending, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self.done = self.ended = True

    def finish(self) -> None:
        """Pass the end on when everything before it is written."""
        if self.ended and not self.done and not self.wants_to_write():
            self.done = True
            self.pass_end_on()

    def pass_end_on(self) -> None:
        """Tell the sink that no more comes."""
        try:
            self.sink.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno not in _GONE:
                raise

    def close(self) -> None:
        os.close(self.read_end)
        os.close(self.write_end)


def pump(client: socket.socket, upstream: socket.socket, mode: Mode, to_client: bytes = b"", to_upstream: bytes = b"") -> None:
    """Copy until both directions have ended, then close both sockets.

    ``to_client`` and ``to_upstream`` are bytes that were read ahead and go out first. Blocks for as long as the stream lives.
    """
    client.setblocking(False)
    upstream.setblocking(False)
    down = _Direction(upstream, client, to_client)
    up = _Direction(client, upstream, to_upstream)
    if mode is Mode.RESPONSE:
        up.ended = up.done = True
    try:
        _copy(client, upstream, mode, down, up)
    finally:
        down.close()
        up.close()
        client.close()
        upstream.close()


def _interest(reads: _Direction, writes: _Direction) -> int:
    return (select.POLLIN if reads.wants_to_read() else 0) | (select.POLLOUT if writes.wants_to_write() else 0)


def _copy(client: socket.socket, upstream: socket.socket, mode: Mode, down: _Direction, up: _Direction) -> None:
    poller = select.poll()
    poller.register(client, 0)
    watching_upstream = False
    told_upstream = mode is Mode.DUPLEX  # there the end travels behind the bytes
    while not (down.done and up.done):
        poller.modify(client, _interest(up, down) | (0 if told_upstream else _RDHUP))
        # A socket that has hung up reports so whatever is asked for: upstream is only watched while that is news.
        mask = _interest(down, up)
        if mask or (down.ended and not up.done):
            poller.register(upstream, mask)
            watching_upstream = True
        elif watching_upstream:
            poller.unregister(upstream)
            watching_upstream = False
        events = dict(poller.poll())
        seen = events.get(client.fileno(), 0)
        if seen & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
            return
        if seen & _RDHUP and not told_upstream:
            told_upstream = True
            up.pass_end_on()
        if seen & select.POLLIN:
            up.read()
        back = events.get(upstream.fileno(), 0)
        if back & (select.POLLIN | select.POLLHUP | select.POLLERR) and down.wants_to_read():
            down.read()
        down.write()
        up.write()
        if back & (select.POLLHUP | select.POLLERR) and down.ended:
            up.ended = up.done = True
        down.finish()
        up.finish()
