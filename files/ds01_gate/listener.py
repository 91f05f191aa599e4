# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Accepts connections, a thread for each, within limits; and drains them when the gate is to end."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time

from ds01.core.gate.verdict import Answer
from ds01.core.policy_problems import PolicyError
from ds01.peer_identity import Peer, peer_of
from ds01_gate.client_stream import ClientStream
from ds01_gate.connection import Connection, Services
from ds01_gate.forwarding import plain_answer

_BACKLOG = 4096
_DEFAULT_CONNECTIONS = 256


def listen_at(path: str) -> socket.socket:
    """A new listening socket at ``path``, open to everybody: who may do what is decided by uid."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o666)
    listener.listen(_BACKLOG)
    return listener


class Listener:
    """The accept loop over the listening sockets."""

    def __init__(self, sockets: list[socket.socket], services: Services) -> None:
        self._sockets = sockets
        self._services = services
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._lock = threading.Lock()
        self._open: dict[Connection, socket.socket] = {}
        self._none_open = threading.Condition(self._lock)

    def stop(self) -> None:
        """End ``run``; callable from a signal handler."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"x")

    def run(self) -> None:
        """Accept until ``stop``."""
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        by_descriptor = {listener.fileno(): listener for listener in self._sockets}
        for listener in self._sockets:
            listener.setblocking(False)
            poller.register(listener, select.POLLIN)
        while True:
            for descriptor, _ in poller.poll():
                if descriptor == self._wake_read:
                    return
                with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
                    connection, _ = by_descriptor[descriptor].accept()
                    self._accepted(connection)

    def _accepted(self, connection: socket.socket) -> None:
        connection.setblocking(True)
        peer = peer_of(connection)
        try:
            limit = self._services.policies.current().gate.connections
        except PolicyError:
            limit = _DEFAULT_CONNECTIONS
        gauge = self._services.traffic.connections
        if gauge.total >= self._services.settings.workers or not gauge.take(peer.uid, limit):
            message = f"uid {peer.uid} has {limit} connections to Docker open, the limit; close some"
            self._refuse(connection, peer, message)
            return
        client = ClientStream(connection)
        try:
            threading.Thread(target=self._serve, args=(client, peer), daemon=True).start()
        except RuntimeError as error:
            gauge.give(peer.uid)
            self._refuse(connection, peer, f"the gate has no thread left ({error}); try again in a moment")

    def _refuse(self, connection: socket.socket, peer: Peer, message: str) -> None:
        self._services.audit.refusal(peer.uid, pid=peer.pid, rule="connections", why=message)
        with contextlib.suppress(OSError):
            connection.settimeout(1.0)
            connection.sendall(plain_answer(None, Answer(503, {"message": message}, "connections"), keep=False))
        connection.close()

    def _serve(self, client: ClientStream, peer: Peer) -> None:
        connection = Connection(self._services, client, peer)
        with self._lock:
            self._open[connection] = client.socket
        try:
            connection.serve()
        finally:
            with self._lock:
                del self._open[connection]
                self._none_open.notify_all()
            self._services.traffic.connections.give(peer.uid)

    def drain(self, seconds: float) -> int:
        """Let requests under way end, close idle connections; how many were cut off after ``seconds``."""
        deadline = time.monotonic() + seconds
        with self._lock:
            while self._open:
                for connection, client in self._open.items():
                    connection.draining = True
                    if connection.idle:
                        with contextlib.suppress(OSError):
                            client.shutdown(socket.SHUT_RD)
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._none_open.wait(min(left, 0.2))
            return len(self._open)
