# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Follows and makes paths with a caller's own rights, so that the kernel says what they may reach.

Theory of operation: a process with threads must not fork, so a server is forked before the first thread starts. It gets each
question with one end of a socket pair for the answer, forks a child that takes the caller's uid, gid and groups for good, looks,
answers and ends. A home on a file server that hangs holds up that child and the thread that asked, nobody else.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import signal
import socket
import stat
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .core.gate.facts import Bind

_MESSAGE_BYTES = 64 * 1024
_ANSWER_SECONDS = 10.0


class PathServerGone(Exception):
    """The forked server does not answer; the gate can't judge bind mounts and must be restarted."""


class PathRefused(Exception):
    """The caller may not make that directory; the message says why."""


@dataclass(frozen=True)
class Rights:
    """The ids that a path is followed with."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def look(path: str) -> Bind:
    """Where ``path`` leads with the rights of this process: the semantics of ``core.gate.facts.Bind``."""
    try:
        real = os.path.realpath(path, strict=True)
    except FileNotFoundError:
        return _look_missing(path)
    except OSError as error:
        return Bind(None, "missing", error.strerror or str(error))
    mode = os.lstat(real).st_mode
    if stat.S_ISDIR(mode):
        kind, wanted = "directory", os.R_OK | os.X_OK
    elif stat.S_ISREG(mode):
        kind, wanted = "file", os.R_OK
    else:
        return Bind(real, "other")
    if not os.access(real, wanted):
        return Bind(None, kind, "Permission denied")
    return Bind(real, kind)


def _look_missing(path: str) -> Bind:
    rest: list[str] = []
    at = path
    while True:
        if os.path.islink(at):
            return Bind(None, "missing", f"{at} is a symbolic link to nothing")
        at, name = os.path.split(at)
        rest.insert(0, name)
        try:
            return Bind(os.path.join(os.path.realpath(at, strict=True), *rest), "missing")
        except FileNotFoundError:
            continue
        except OSError as error:
            return Bind(None, "missing", error.strerror or str(error))


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    path = question["path"]
    if question["make"]:
        os.umask(0o022)
        try:
            os.makedirs(path, mode=0o755, exist_ok=True)
        except OSError as error:
            return {"error": error.strerror or str(error)}
        return {}
    found = look(path)
    return {"real": found.real, "kind": found.kind, "error": found.error}


def _child(question: dict[str, Any], reply: socket.socket) -> None:
    """In a process of its own: become the caller, look, answer."""
    signal.alarm(int(_ANSWER_SECONDS) + 5)
    if os.geteuid() == 0:
        os.setgroups(question["groups"])
        os.setresgid(question["gid"], question["gid"], question["gid"])
        os.setresuid(question["uid"], question["uid"], question["uid"])
    elif os.geteuid() != question["uid"]:
        raise PermissionError("only root can look with another person's rights")
    reply.send(json.dumps(_answer(question)).encode())


def _serve(inbox: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Listening sockets that were inherited would outlive the gate here.
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != inbox.fileno():
            with contextlib.suppress(OSError):
                os.close(int(name))
    space = socket.CMSG_SPACE(array.array("i").itemsize)
    while True:
        message, ancillary, _, _ = inbox.recvmsg(_MESSAGE_BYTES, space, socket.MSG_CMSG_CLOEXEC)
        if not message:
            return
        descriptors = array.array("i")
        for _, _, data in ancillary:
            descriptors.frombytes(data)
        with socket.socket(fileno=descriptors[0]) as reply:
            if os.fork() == 0:
                status = 1
                try:
                    _child(json.loads(message), reply)
                    status = 0
                finally:
                    os._exit(status)


class CallerPaths:
    """The client's side. Make it before the first thread starts; then any thread may ask."""

    def __init__(self) -> None:
        outbox, inbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                outbox.close()
                _serve(inbox)
                status = 0
            finally:
                os._exit(status)
        inbox.close()
        self.pid = pid
        self._outbox = outbox
        self._lock = threading.Lock()

    def alive(self) -> bool:
        """Whether the server still runs."""
        try:
            return os.waitpid(self.pid, os.WNOHANG) == (0, 0)
        except ChildProcessError:
            return False

    def close(self) -> None:
        """End the server."""
        self._outbox.close()
        os.waitpid(self.pid, 0)

    def resolve(self, rights: Rights, path: str) -> Bind:
        """Where ``path`` leads for the caller."""
        answer = self._ask(rights, path, make=False)
        if answer is None:
            return Bind(None, "missing", f"no answer from the file system within {_ANSWER_SECONDS:.0f} s")
        return Bind(answer["real"], answer["kind"], answer["error"])

    def make_directory(self, rights: Rights, path: str) -> None:
        """Make ``path`` and its missing parents as the caller; raises PathRefused."""
        answer = self._ask(rights, path, make=True)
        if answer is None:
            raise PathRefused(f"no answer from the file system within {_ANSWER_SECONDS:.0f} s")
        if "error" in answer:
            raise PathRefused(str(answer["error"]))

    def _ask(self, rights: Rights, path: str, *, make: bool) -> dict[str, Any] | None:
        groups: Sequence[int] = rights.groups
        question = {"path": path, "make": make, "uid": rights.uid, "gid": rights.gid, "groups": list(groups)}
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with mine:
            with theirs:
                try:
                    with self._lock:
                        rights_message = array.array("i", [theirs.fileno()])
                        self._outbox.sendmsg([json.dumps(question).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights_message)])
                except OSError as error:
                    raise PathServerGone(f"the path server does not answer: {error}") from error
            mine.settimeout(_ANSWER_SECONDS)
            try:
                data = mine.recv(_MESSAGE_BYTES)
            except TimeoutError:
                return None
        if not data:
            raise PathServerGone("the path server's child ended without an answer")
        answer: dict[str, Any] = json.loads(data)
        return answer
