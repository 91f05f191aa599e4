# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What happens to a connection that has become a stream: ds01-splice takes it, or this process copies it when that is away."""

from __future__ import annotations

import contextlib
import socket

from ds01_splice.handover import HandoverError, Stream, send
from ds01_splice.pump import Mode, pump

from ds01_gate.audit import Audit

__all__ = ["Mode", "Streams"]


class Streams:
    """``path`` is where ds01-splice listens."""

    def __init__(self, path: str, audit: Audit) -> None:
        self._path = path
        self._audit = audit

    def carry(self, client: socket.socket, upstream: socket.socket, mode: Mode, to_client: bytes, to_upstream: bytes) -> None:
        """Hand the stream over and return at once; or copy until it ends. Either way both sockets are closed here."""
        stream = Stream(client, upstream, mode, to_client, to_upstream)
        try:
            send(self._path, stream)
        except HandoverError as error:
            self._audit.note("splice_away", why=str(error))
            with contextlib.suppress(OSError):
                pump(client, upstream, mode, to_client, to_upstream)
        finally:
            client.close()
            upstream.close()
