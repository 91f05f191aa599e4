# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""How a stream travels from the gate to the splice program: one message of a SOCK_SEQPACKET socket.

The message is a JSON line ``{"mode": …, "to_client": N, "to_upstream": M}``, then N bytes for the client and M for upstream that
were read ahead; the two sockets come along as SCM_RIGHTS, the client's first. The answer is ``ok`` once the stream is owned.
"""

from __future__ import annotations

import array
import contextlib
import json
import socket
from dataclasses import dataclass

from .pump import Mode

MESSAGE_BYTES = 192 * 1024
_HEAD_BYTES = 256
ANSWER = b"ok"
TIMEOUT_S = 2.0


class HandoverError(Exception):
    """The stream was not taken over; the sender still owns it."""


@dataclass(frozen=True)
class Stream:
    """A stream and what was read ahead of it."""

    client: socket.socket
    upstream: socket.socket
    mode: Mode
    to_client: bytes
    to_upstream: bytes


def send(path: str, stream: Stream) -> None:
    """Give the stream to the program that listens at ``path``; raises HandoverError when it does not take it.

    The caller's own copies of the sockets stay open: close them after success.
    """
    head = {"mode": stream.mode.value, "to_client": len(stream.to_client), "to_upstream": len(stream.to_upstream)}
    message = json.dumps(head).encode() + b"\n" + stream.to_client + stream.to_upstream
    if len(message) > MESSAGE_BYTES:
        raise HandoverError(f"{len(message)} bytes were read ahead; {MESSAGE_BYTES} can travel")
    rights = array.array("i", [stream.client.fileno(), stream.upstream.fileno()])
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
            link.settimeout(TIMEOUT_S)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MESSAGE_BYTES)
            link.connect(path)
            link.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            try:
                answer = link.recv(16)
            except TimeoutError:
                return  # it lies in the receiver's queue, who is slow: taking it back could copy the stream twice
    except OSError as error:
        raise HandoverError(f"{path}: {error}") from error
    if answer != ANSWER:
        raise HandoverError(f"{path}: answered {answer!r}")


def receive(link: socket.socket) -> Stream:
    """The stream that the other side of ``link`` sends; raises HandoverError for a message that is not understood."""
    space = socket.CMSG_SPACE(2 * array.array("i").itemsize)
    message, ancillary, flags, _ = link.recvmsg(MESSAGE_BYTES + _HEAD_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    with contextlib.ExitStack() as undo:
        for one in sockets:
            undo.callback(one.close)
        stream = _decode(message, flags, sockets)
        undo.pop_all()
        return stream


def _decode(message: bytes, flags: int, sockets: list[socket.socket]) -> Stream:
    head, newline, rest = message.partition(b"\n")
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or not newline or len(sockets) != 2:
        raise HandoverError("expected one JSON line, its bytes and two sockets")
    try:
        fields = json.loads(head)
        mode, down, up = Mode(fields["mode"]), int(fields["to_client"]), int(fields["to_upstream"])
    except (ValueError, KeyError, TypeError) as error:
        raise HandoverError(f"head of the message: {error}") from error
    if min(down, up) < 0 or down + up != len(rest):
        raise HandoverError(f"the head announces {down} + {up} bytes, {len(rest)} came")
    return Stream(sockets[0], sockets[1], mode, rest[:down], rest[down:])
