# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Serves the metrics on loopback, to root and to Prometheus: bounded in connections, in time, and in what repeated questions cost.

Any local account can connect to loopback. The metrics say who uses what, so the kernel is asked whose the connection is; and a slow or
greedy client must not cost a program of root's its memory or its CPU.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MOST_CONNECTIONS = 16
_CLIENT_S = 5.0
_FRESH_S = 1.0
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsServer(ThreadingHTTPServer):
    """``text`` makes the metrics; it is asked at most once a second, one at a time. ``may_read`` says by uid who gets an answer."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, address: tuple[str, int], text: Callable[[], bytes], may_read: Callable[[int], bool]) -> None:
        super().__init__(address, _Handler)
        self._text = text
        self._may_read = may_read
        self._lock = threading.Lock()
        self._made: tuple[float, bytes] | None = None
        self._open: dict[int, socket.socket] = {}

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self.serve_forever, name="metrics", daemon=True).start()

    def metrics(self) -> bytes:
        """The metrics of now, or of less than a second ago."""
        with self._lock:
            now = time.monotonic()
            if self._made is None or now - self._made[0] >= _FRESH_S:
                self._made = (now, self._text())
            return self._made[1]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether the client belongs to somebody who may read; the metrics say who uses what."""
        uid = owner_of_connection(request)
        return uid is not None and self._may_read(uid)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the client; where as many as may be are served, the oldest has to go."""
        while len(self._open) >= MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            with contextlib.suppress(OSError):
                self._open.pop(oldest).shutdown(socket.SHUT_RDWR)
        self._open[id(request)] = request
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self._open.pop(id(request), None)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one client."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.pop(id(request), None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no error of ours."""


def owner_of_connection(connection: socket.socket, table: str = "/proc/net/tcp") -> int | None:
    """The uid that opened the other end of a connection over IPv4 loopback (proc_pid_net(5)); None where there is none."""
    try:
        (host, port), (peer, peer_port) = connection.getsockname()[:2], connection.getpeername()[:2]
        ours, theirs = _kernel_form(host, port), _kernel_form(peer, peer_port)
        with open(table, encoding="ascii") as stream:
            for line in stream:
                fields = line.split()
                if fields[1] == theirs and fields[2] == ours:
                    return int(fields[7])
    except (OSError, ValueError, IndexError):
        return None
    return None


def _kernel_form(host: str, port: int) -> str:
    """An address as /proc/net/tcp has it: the four bytes as one number of this machine's byte order, and the port."""
    return f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    timeout = _CLIENT_S
    server_version = "ds01-watch"
    sys_version = ""

    def do_GET(self) -> None:
        """The metrics."""
        if self.path.partition("?")[0] not in ("/", "/metrics"):
            self.send_error(404)
            return
        body = self.server.metrics()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not worth a line each."""
