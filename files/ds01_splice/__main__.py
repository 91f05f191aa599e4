# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The program ``ds01-splice``: takes streams from the gate and copies them until they end, a thread for each.

It knows nothing of Docker or of people, so that it need not be restarted when the gate is. Only root can hand it a stream.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import socket
import struct
import sys
import threading

from ds01_splice.handover import ANSWER, TIMEOUT_S, HandoverError, receive
from ds01_splice.pump import pump

LOG = logging.getLogger("ds01-splice")
_FIRST_PASSED_DESCRIPTOR = 3
_STACK_BYTES = 256 * 1024


def listening_socket(path: str | None) -> socket.socket:
    """The socket that systemd passed, or a new one at ``path``; raises OSError or ValueError."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=_FIRST_PASSED_DESCRIPTOR)
    if path is None:
        raise ValueError("no socket was passed by systemd (LISTEN_FDS=1) and --socket is not given")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    previous = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(previous)
    listener.listen(1024)
    return listener


def _peer_uid(link: socket.socket) -> int:
    return int(struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1])


def serve(link: socket.socket, owner: int) -> None:
    """Take one stream from ``link`` and copy it until it ends. ``owner`` is the uid that may hand over."""
    try:
        with link:
            link.settimeout(TIMEOUT_S)
            if _peer_uid(link) != owner:
                LOG.warning("refused a stream from uid %d: only uid %d may hand over", _peer_uid(link), owner)
                return
            stream = receive(link)
            try:
                link.send(ANSWER)
            except OSError:
                # The sender may be gone (killed) or may have given up; then it has closed or still uses its own copies of the sockets.
                LOG.warning("the sender of a stream did not wait for the answer")
    except (HandoverError, OSError) as error:
        LOG.warning("hand-over failed: %s", error)
        return
    try:
        pump(stream.client, stream.upstream, stream.mode, stream.to_client, stream.to_upstream)
    except OSError as error:
        LOG.warning("a stream ended early: %s", error)


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="ds01-splice", description="Keeps Docker's hijacked streams alive across restarts of ds01-gate.")
    parser.add_argument("--socket", help="path to listen at when systemd passes no socket")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")
    threading.stack_size(_STACK_BYTES)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        listener = listening_socket(options.socket)
    except (OSError, ValueError) as error:
        LOG.error("%s", error)
        return 2
    owner = os.geteuid()
    while True:
        link, _ = listener.accept()
        threading.Thread(target=serve, args=(link, owner), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
