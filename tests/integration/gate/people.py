# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The people of the tests, and what they do: run the real CLI, or speak raw HTTP with their own uid."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.gate.gate_process import GateProcess
from tests.integration.gate.terminal import Size, Terminal, at_terminal
from tests.integration.lab import Lab, Person

_LIBC = ctypes.CDLL(None, use_errno=True)
_SETRESUID, _SETRESGID = 117, 119
"""System calls of x86-64, the only architecture of the engine trees. The C library's functions of these names change every thread."""
_KEEP = -1


def _set_effective_id(call: int, number: int) -> None:
    """Change the effective id of this thread alone."""
    if _LIBC.syscall(call, _KEEP, number, _KEEP) != 0:
        raise OSError(ctypes.get_errno(), f"{os.strerror(ctypes.get_errno())}: effective id {number}")


@contextlib.contextmanager
def acting_as(person: Person | None) -> Iterator[None]:
    """Sockets that this thread connects in the block belong to that person: SO_PEERCRED tells the thread's effective ids of the moment."""
    if person is None:
        yield
        return
    _set_effective_id(_SETRESGID, person.uid)
    try:
        _set_effective_id(_SETRESUID, person.uid)
        try:
            yield
        finally:
            _set_effective_id(_SETRESUID, 0)
    finally:
        _set_effective_id(_SETRESGID, 0)


@dataclass
class Reply:
    """An answer to a raw request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The error message."""
        return str(self.json["message"])


class Wire:
    """A raw connection, for what no well-behaved client does."""

    def __init__(self, path: str, person: Person | None) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        with acting_as(person):
            self.socket.connect(path)
        self._file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def head(self) -> tuple[int, dict[str, str]]:
        """The next answer's status and header fields; status 0 when the connection was closed."""
        line = self._file.readline()
        if not line:
            return 0, {}
        headers = {}
        while (field := self._file.readline().strip()) != b"":
            name, _, value = field.decode().partition(":")
            headers[name.lower()] = value.strip()
        return int(line.split()[1]), headers

    def chunk(self) -> bytes:
        """The next chunk of a chunked body."""
        size = int(self._file.readline(), 16)
        data = self._file.read(size)
        self._file.readline()
        return data

    def reply(self, method: str = "GET") -> Reply:
        """The next whole answer."""
        status, headers = self.head()
        body = b""
        if method != "HEAD" and status not in (0, 204, 304):
            if headers.get("transfer-encoding") == "chunked":
                while piece := self.chunk():
                    body += piece
            elif "content-length" in headers:
                body = self._file.read(int(headers["content-length"]))
            else:
                body = self._file.read()
        return Reply(status, headers, body)

    def read(self, size: int) -> bytes:
        """So many bytes as they come; fewer at the end of the connection."""
        return self._file.read(size)

    def rest(self) -> bytes:
        """Everything until the connection ends."""
        return self._file.read()

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self.socket.close()


class Desk:
    """A person at a gate."""

    def __init__(self, gate: GateProcess, person: Person | None) -> None:
        self.gate = gate
        self.person = person

    @property
    def lab(self) -> Lab:
        """The lab."""
        return self.gate.lab

    def docker(self, *arguments: str, stdin: str | None = None, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run the CLI."""
        return self.lab.run(self.gate.socket, self.person, *arguments, stdin=stdin, seconds=seconds)

    def must(self, *arguments: str, stdin: str | None = None) -> str:
        """Run the CLI, which must succeed; its output without the last newline."""
        done = self.docker(*arguments, stdin=stdin)
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
        return done.stdout.rstrip("\n")

    def compose(self, project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run compose on the file compose.yaml of that directory, with more in its environment; never raises for a non-zero exit."""
        return subprocess.run(
            self.lab.compose(self.person, "-f", str(project / "compose.yaml"), *arguments),
            env={**self.lab.environment(self.person, self.gate.socket), **environment},
            cwd=project, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the CLI with pipes."""
        return self.lab.popen(self.gate.socket, self.person, *arguments)

    def terminal(self, *arguments: str, size: Size = (24, 80)) -> contextlib.AbstractContextManager[Terminal]:
        """Run the CLI at a terminal of that size."""
        home = self.person.home if self.person else Path("/")
        environment = {**self.lab.environment(self.person), "TERM": "xterm"}
        return at_terminal(self.lab.docker(self.gate.socket, self.person, *arguments), environment, home, size)

    def wire(self) -> Wire:
        """A raw connection."""
        return Wire(str(self.gate.socket), self.person)

    def ask(self, method: str, target: str, body: Any = None, **headers: str) -> Reply:
        """One request on a connection of its own; ``body`` is sent as JSON unless it is bytes."""
        payload = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"Host": "docker", "Connection": "close", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if body is not None:
            fields.setdefault("Content-Type", "application/json")
            fields["Content-Length"] = str(len(payload))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        wire = self.wire()
        try:
            wire.send(head.encode() + b"\r\n" + payload)
            return wire.reply(method)
        finally:
            wire.close()
