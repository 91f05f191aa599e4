# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Open sessions that are spoken into again and again, while everything around them is killed.

A session may end when what carries it is killed: dockerd, or the splice program. Any other end is a loss.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.integration.gate.people import Desk, Wire

V = "/v1.45"
_UPGRADE = "HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
_STDOUT = 1


@dataclass
class Session:
    """``carriers``: how often dockerd and the splice program had been killed when it was opened."""

    wire: Wire
    carriers: int
    heard: bytearray = field(default_factory=bytearray)

    def echoes(self, word: str) -> bool:
        """Say a word to ``cat`` and hear it again; False when the session has ended. Raises TimeoutError when nothing comes."""
        try:
            self.wire.send(word.encode() + b"\n")
            while word.encode() + b"\n" not in self.heard:
                head = self.wire.read(8)
                if len(head) < 8:
                    return False
                stream, size = struct.unpack(">B3xI", head)
                data = self.wire.read(size)
                if len(data) < size or stream != _STDOUT:
                    return False
                self.heard += data
        except (BrokenPipeError, ConnectionResetError):
            return False
        self.heard.clear()
        return True


class Terminals:
    """One container of each desk with one session: of an exec and of an attach in turns. ``carriers`` counts the kills that may end one."""

    def __init__(self, desks: list[Desk], carriers: Callable[[], int]) -> None:
        self._desks = desks
        self._carriers = carriers
        self._sessions: dict[int, Session] = {}
        self.containers: list[str] = []
        self.rounds = 0
        self.ended_with_carrier = 0
        self.lost: list[str] = []

    def open(self) -> None:
        """Make the containers and open every session."""
        for n, desk in enumerate(self._desks):
            body = {"Image": "busybox", "Cmd": ["cat"], "OpenStdin": True, "HostConfig": {"NetworkMode": "none"}}
            identity = desk.ask("POST", f"{V}/containers/create", body).json["Id"]
            assert desk.ask("POST", f"{V}/containers/{identity}/start").status == 204
            self.containers.append(identity)
            self._sessions[n] = self._opened(n)

    def reopen(self) -> None:
        """Open again what has ended. Call while nothing is being killed."""
        for n in range(len(self._desks)):
            if n not in self._sessions:
                self._sessions[n] = self._opened(n)

    def _opened(self, n: int) -> Session:
        desk, identity = self._desks[n], self.containers[n]
        carriers = self._carriers()
        if n % 2:
            wanted = {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True, "AttachStderr": True}
            made = desk.ask("POST", f"{V}/containers/{identity}/exec", wanted).json["Id"]
            target, body = f"/exec/{made}/start", json.dumps({"Detach": False, "Tty": False}).encode()
        else:
            target, body = f"/containers/{identity}/attach?stream=1&stdin=1&stdout=1", b""
        wire = desk.wire()
        kind = "Content-Type: application/json\r\n" if body else ""
        wire.send(f"POST {V}{target} {_UPGRADE}{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        status, _ = wire.head()
        assert status == 101, f"session {n}: {status} {wire.rest()!r}"
        return Session(wire, carriers)

    def speak(self) -> None:
        """A word into every session."""
        self.rounds += 1
        for n, session in list(self._sessions.items()):
            if not session.echoes(f"round {self.rounds} of {n}"):
                del self._sessions[n]
                session.wire.close()
                if self._carriers() == session.carriers:
                    self.lost.append(f"session {n} in round {self.rounds}")
                else:
                    self.ended_with_carrier += 1

    def close(self) -> None:
        """End the sessions."""
        for session in self._sessions.values():
            session.wire.close()
