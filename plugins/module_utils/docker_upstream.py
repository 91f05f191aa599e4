# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""HTTP/1.1 to dockerd over its unix socket: one connection with its framing, and JSON calls for the platform's own questions.

The daemon is trusted, so this reads what dockerd sends and no more; the strict parser for clients is ``core.gate``.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

READ_BYTES = 256 * 1024
_HEAD_LIMIT = 256 * 1024
_JSON_LIMIT = 256 * 1024 * 1024
_BODYLESS = frozenset({204, 304})


class DaemonUnavailable(Exception):
    """dockerd does not answer at its socket, or broke off."""


class DaemonRefused(Exception):
    """dockerd answered a question of the platform's own with an error; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"dockerd answered {status}: {message}")
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Response:
    """The head of an answer. ``length`` is None when the body is chunked or ends with the connection."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    length: int | None
    chunked: bool
    keep: bool

    def header(self, name: str) -> str | None:
        """The value of the first field of that name (lower case)."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def until_close(self) -> bool:
        """Whether only the end of the connection ends the body."""
        return self.length is None and not self.chunked


class Link:
    """One connection to dockerd. Not for several threads at once, except that one may send while another reads.

    ``before_reading`` is called each time before it waits for dockerd; what it raises ends the waiting.
    """

    def __init__(self, path: str, timeout: float | None = None) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self._buffer = bytearray()
        self.before_reading: Callable[[], None] | None = None
        try:
            self.socket.settimeout(5.0)
            self.socket.connect(path)
            self.socket.settimeout(timeout)
        except OSError as error:
            self.socket.close()
            raise DaemonUnavailable(f"{path}: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything; raises DaemonUnavailable when dockerd has gone."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise DaemonUnavailable(f"sending to dockerd: {error}") from error

    def send_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send everything of all, without putting it together first; at most a thousand parts. Raises DaemonUnavailable."""
        try:
            sent = self.socket.sendmsg(parts)
            for part in parts:
                if sent < len(part):
                    self.socket.sendall(memoryview(part)[sent:])
                sent = max(0, sent - len(part))
        except OSError as error:
            raise DaemonUnavailable(f"sending to dockerd: {error}") from error

    def leftover(self) -> bytes:
        """What was read ahead; it is forgotten here."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def _fill(self) -> bool:
        if self.before_reading is not None:
            self.before_reading()
        try:
            data = self.socket.recv(READ_BYTES)
        except OSError as error:
            raise DaemonUnavailable(f"reading from dockerd: {error}") from error
        self._buffer += data
        return bool(data)

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _HEAD_LIMIT or not self._fill():
                raise DaemonUnavailable("dockerd broke off in the middle of an answer")
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        return line

    def response(self, method: str) -> Response:
        """The head of the final answer (or of 101) to a request of that method; interim answers are skipped."""
        while True:
            version, _, rest = self._line().decode("latin-1").partition(" ")
            code, _, reason = rest.partition(" ")
            if not version.startswith("HTTP/1.") or not code.isdigit():
                raise DaemonUnavailable(f"dockerd answered with {version!r} {code!r}, not with HTTP/1")
            headers = []
            while line := self._line():
                name, _, value = line.decode("latin-1").partition(":")
                headers.append((name.strip(), value.strip()))
            status = int(code)
            if status == 101 or status >= 200:
                return _framed(status, reason, tuple(headers), method)

    def body(self, response: Response) -> Iterator[bytes]:
        """The decoded body, in pieces as they come."""
        if response.chunked:
            yield from self._chunks()
        elif response.length is None:
            while True:
                if self._buffer:
                    yield self.leftover()
                if not self._fill():
                    return
        else:
            left = response.length
            while left:
                if not self._buffer and not self._fill():
                    raise DaemonUnavailable("dockerd broke off in the middle of a body")
                piece = bytes(self._buffer[:left])
                del self._buffer[: len(piece)]
                left -= len(piece)
                yield piece

    def _chunks(self) -> Iterator[bytes]:
        ready: list[bytes] = []
        while True:
            if ready and b"\n" not in self._buffer:
                yield b"".join(ready)
                ready = []
            size = int(self._line().partition(b";")[0], 16)
            if size == 0:
                if ready:
                    yield b"".join(ready)
                while self._line():
                    continue
                return
            while size:
                if not self._buffer:
                    if ready:
                        yield b"".join(ready)
                        ready = []
                    if not self._fill():
                        raise DaemonUnavailable("dockerd broke off in the middle of a body")
                piece = bytes(self._buffer[:size])
                del self._buffer[: len(piece)]
                size -= len(piece)
                ready.append(piece)
            self._line()


def _framed(status: int, reason: str, headers: tuple[tuple[str, str], ...], method: str) -> Response:
    fields = {name.lower(): value for name, value in headers}
    keep = fields.get("connection", "").lower() != "close"
    if method == "HEAD" or status in _BODYLESS or status == 101:
        return Response(status, reason, headers, 0, False, keep)
    if fields.get("transfer-encoding", "").lower() == "chunked":
        return Response(status, reason, headers, None, True, keep)
    if "content-length" in fields:
        return Response(status, reason, headers, int(fields["content-length"]), False, keep)
    return Response(status, reason, headers, None, False, False)


def label_filter(*labels: str) -> str:
    """The query ``filters=…`` that keeps what carries all these labels (``key`` or ``key=value``)."""
    return urlencode({"filters": json.dumps({"label": list(labels)})})


class DockerClient:
    """The platform's own calls to dockerd: JSON in, JSON out, a connection each."""

    def __init__(self, path: str, timeout: float = 30.0) -> None:
        self.path = path
        self.timeout = timeout

    def call(self, method: str, target: str, body: Mapping[str, Any] | None = None) -> Any:
        """The decoded answer, None for an empty one; raises DaemonRefused for a status of 400 or more, DaemonUnavailable when there
        is none."""
        payload = b"" if body is None else json.dumps(body).encode()
        kind = "Content-Type: application/json\r\n" if body is not None else ""
        link = Link(self.path, self.timeout)
        try:
            link.send(
                f"{method} {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n{kind}Content-Length: {len(payload)}\r\n\r\n".encode()
                + payload
            )
            response = link.response(method)
            data = b"".join(link.body(response))
        finally:
            link.close()
        if response.status >= 400:
            raise DaemonRefused(response.status, _message(data))
        return json.loads(data) if data.strip() else None

    def find(self, target: str) -> Any:
        """The decoded answer to GET, or None where dockerd says that there is no such thing."""
        try:
            return self.call("GET", target)
        except DaemonRefused as error:
            if error.status == 404:
                return None
            raise

    def events(self, query: Mapping[str, str]) -> tuple[Link, Iterator[dict[str, Any]]]:
        """The stream of events, and its connection: closing that ends the stream."""
        link = Link(self.path, self.timeout)
        link.send(f"GET /events?{urlencode(query)} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n".encode())
        response = link.response("GET")
        if response.status != 200:
            data = b"".join(link.body(response))
            link.close()
            raise DaemonRefused(response.status, _message(data))
        link.socket.settimeout(None)
        return link, _json_lines(link.body(response))


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data[:200].decode("utf-8", "replace")


def _json_lines(pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)


def segment(name: str) -> str:
    """``name`` as one segment of a path."""
    return quote(name, safe="")
