# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Commands on the virtual lab server, as root and as its people, over one shared ssh connection a person.

A first connection is a real login (sshd, PAM, systemd-logind): commands run in ``user-<uid>.slice``. Commands of one ``Account`` share that
session; ``new_session`` gives one that logs in anew, for what is decided at login.
"""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "dev" / "lab"))

from ds01_lab import remote, server  # noqa: E402
from ds01_lab.container_images import image_tar  # noqa: E402

ROOT_DOCKER_SOCKET = "/run/docker-root/docker.sock"
T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """What a command gave back."""

    command: str
    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def text(self) -> str:
        """Both outputs, for looking for a message."""
        return self.out + self.err


class Account:
    """A person's (or root's) shell on the server."""

    def __init__(self, directory: Path, port: int, user: str, *, shared: bool = True) -> None:
        self.user = user
        self._directory = directory
        self._port = port
        self._shared = shared

    def argv(self, command: str) -> list[str]:
        """The local command line, for a test that runs it in the background."""
        return remote.ssh_argv(self._directory, self._port, self.user, [command], shared=self._shared)

    def run(self, command: str, *, stdin: str | None = None, limit_s: float = 180) -> Result:
        """Runs a shell command; never raises for its exit status. subprocess.TimeoutExpired after limit_s."""
        done = subprocess.run(self.argv(command), capture_output=True, text=True, input=stdin, timeout=limit_s, check=False)
        if done.returncode == 255:
            raise ConnectionError(f"ssh as {self.user}: {done.stderr.strip()}")
        return Result(command, done.returncode, done.stdout, done.stderr)

    def must(self, command: str, *, stdin: str | None = None, limit_s: float = 180) -> str:
        """Runs a shell command that has to succeed; returns its standard output without the last line end."""
        result = self.run(command, stdin=stdin, limit_s=limit_s)
        assert result.ok, f"{self.user}$ {command}\nexit {result.code}\n{result.text}"
        return result.out.rstrip("\n")

    def start(self, command: str) -> subprocess.Popen[str]:
        """Starts a shell command in the background; the caller waits for it."""
        return subprocess.Popen(self.argv(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)

    def put(self, path: str, content: str, mode: str = "0644") -> None:
        """Writes a file on the server."""
        self.must(f"install -D -m {mode} /dev/stdin {path}", stdin=content)

    def new_session(self) -> Account:
        """The same person, who logs in anew for each command."""
        return Account(self._directory, self._port, self.user, shared=False)


class Lab:
    """The server under test."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._accounts: dict[str, Account] = {}

    def as_user(self, user: str) -> Account:
        """The shell of that person; one login, shared by all who ask."""
        if user not in self._accounts:
            state = server.need_running(self.name)
            self._accounts[user] = Account(server.directory(self.name), state.port, user)
        return self._accounts[user]

    @property
    def root(self) -> Account:
        return self.as_user("root")

    def reboot(self, *, hard: bool = False) -> None:
        """Restarts the server and waits until its start is finished."""
        server.reboot(self.name, hard=hard)
        self._accounts.clear()

    def docker(self) -> str:
        """The docker command for root: past the gate, where there is one."""
        behind = self.root.run(f"test -S {ROOT_DOCKER_SOCKET}").ok
        return f"docker -H unix://{ROOT_DOCKER_SOCKET}" if behind else "docker"

    def import_image(self, kind: str, tag: str) -> str:
        """Makes sure that the server has a container image (busybox, python) under that tag; returns the tag."""
        docker = self.docker()
        if not self.root.run(f"{docker} image inspect {tag}").ok:
            state = server.need_running(self.name)
            target = f"/root/{kind}-{uuid.uuid4().hex[:8]}.tar"
            copy = remote.scp_argv(server.directory(self.name), state.port, [str(image_tar(kind)), f"lab:{target}"])
            subprocess.run(copy, check=True, timeout=300)
            self.root.must(f"{docker} import {target} {tag} && rm {target}", limit_s=600)
        return tag


def wait_until(what: str, question: Callable[[], T], limit_s: float, every_s: float = 0.5) -> T:
    """Asks until the answer is true, and returns it; AssertionError that names what was waited for."""
    deadline = time.monotonic() + limit_s
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {limit_s:.0f} s: {what}"
        time.sleep(every_s)
