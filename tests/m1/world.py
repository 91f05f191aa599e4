# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the walk needs of the lab server: people at work, root who looks at the host, and questions to the platform."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from tests.lab.playbook import Run, play
from tests.lab.server_access import ROOT_DOCKER_SOCKET, Account, Lab, Result, wait_until

T = TypeVar("T")
ROOT_DOCKER = f"docker -H unix://{ROOT_DOCKER_SOCKET}"
IMAGE = "lab/busybox:1"
FAST = Path(__file__).with_name("fast.yml")
ALLOWED, DENIED = "No such device or address", "Operation not permitted"
"""What opening a simulated GPU says where the kernel lets it be opened, and where it does not."""


class World:
    """One converged server."""

    def __init__(self, server: Lab) -> None:
        self.server = server
        self.image = server.import_image("busybox", IMAGE)

    @property
    def root(self) -> Account:
        """root's shell, past the gate."""
        return self.server.root

    def person(self, name: str) -> Account:
        """That person's shell, from a real login."""
        return self.server.as_user(name)

    def run(self, name: str, options: str, command: str = "sleep 100000", *, limit_s: float = 180) -> Result:
        """``docker run`` as that person."""
        return self.person(name).run(f"docker run {options} {self.image} {command}", limit_s=limit_s)

    def start(self, name: str, container: str, options: str = "", command: str = "sleep 100000", *, image: str | None = None) -> str:
        """A container in the background as that person; its full id."""
        return self.person(name).must(f"docker run -d --name {container} {options} {image or self.image} {command}").split()[-1]

    def as_root(self, words: str) -> str:
        """``docker WORDS`` on the daemon's own socket."""
        return self.root.must(f"{ROOT_DOCKER} {words}")

    def inside(self, container: str, words: str) -> Result:
        """A command in the container, by root."""
        return self.root.run(f"{ROOT_DOCKER} exec {container} {words}")

    def exists(self, container: str) -> bool:
        """Whether dockerd knows the container."""
        return self.root.run(f"{ROOT_DOCKER} inspect {container}").ok

    def running(self, container: str) -> bool:
        """Whether it runs."""
        return self.root.run(f"{ROOT_DOCKER} inspect -f '{{{{.State.Running}}}}' {container}").out.strip() == "true"

    def pid(self, container: str) -> int:
        """The container's first process on the host."""
        return int(self.as_root(f"inspect -f '{{{{.State.Pid}}}}' {container}"))

    def events(self, query: str, by: Account | None = None) -> list[dict[str, Any]]:
        """``ds01 events QUERY`` as root, or as ``by``."""
        return [json.loads(line) for line in (by or self.root).must(f"ds01 events --json {query}").splitlines()]

    def kinds(self, query: str) -> list[str]:
        """The kinds of those events, in order."""
        return [str(event["kind"]) for event in self.events(query)]

    def claims(self, by: Account | None = None) -> list[dict[str, Any]]:
        """The claims in force."""
        found: list[dict[str, Any]] = json.loads((by or self.root).must("ds01 claims --json"))["claims"]
        return found

    def workloads(self, by: Account | None = None) -> list[dict[str, Any]]:
        """The inventory's workloads."""
        found: list[dict[str, Any]] = json.loads((by or self.root).must("ds01 workloads --json"))["workloads"]
        return found

    def workload(self, name: str) -> dict[str, Any] | None:
        """The workload of that name."""
        return next((one for one in self.workloads() if name in (one["name"], (one["container_id"] or "")[:12])), None)

    def process(self, pid: str) -> dict[str, Any] | None:
        """The workload that the process belongs to."""
        return next((one for one in self.workloads() if any(str(process["pid"]) == pid for process in one["processes"])), None)

    def metric(self, name: str) -> list[str]:
        """The samples of a metric, as the exporter gives them."""
        text = self.root.must("python3 -c " + shlex.quote(_FETCH))
        return [line for line in text.splitlines() if line.startswith((name + "{", name + " "))]

    def inbox(self, name: str) -> str:
        """What a person was told."""
        return self.person(name).must("ds01 inbox --all")

    def login(self, name: str, typed: str = "exit\n", limit_s: float = 60) -> str:
        """What a person sees who logs in at a terminal, types that, and leaves."""
        argv = self.person(name).new_session().argv("exec bash -l -i")
        done = subprocess.run([argv[0], "-tt", *argv[1:]], input=typed, capture_output=True, text=True, timeout=limit_s, check=False)
        return done.stdout

    def typed(self, name: str, command: str, lines: list[str], limit_s: float = 120) -> str:
        """What a command shows at a terminal to a person who types those lines one after the other."""
        argv = self.person(name).new_session().argv(command)
        typed = "".join(f"{line}\n" for line in lines)
        done = subprocess.run([argv[0], "-tt", *argv[1:]], input=typed, capture_output=True, text=True, timeout=limit_s, check=False)
        return done.stdout

    def playbook(self, name: str, *arguments: str) -> Run:
        """One run of a playbook with the settings of the walk."""
        return play(self.server.name, "-e", f"@{FAST}", *arguments, playbook=name)

    @staticmethod
    def seconds_between(first: dict[str, Any], second: dict[str, Any]) -> float:
        """From one event to another."""
        at = [datetime.fromisoformat(str(event["time"]).replace("Z", "+00:00")) for event in (first, second)]
        return (at[1] - at[0]).total_seconds()

    def seconds_until(self, what: str, question: Callable[[], T], limit_s: float) -> tuple[T, float]:
        """The answer, and how long it took to become true."""
        begin = time.monotonic()
        return wait_until(what, question, limit_s), time.monotonic() - begin

    def cgroup(self, container: str) -> str:
        """The cgroup of the container's first process."""
        return self.root.must(f"cat /proc/{self.pid(container)}/cgroup").partition("::")[2]

    def clear(self) -> None:
        """Remove every container, and wait until all claims are gone."""
        self.root.must(f"{ROOT_DOCKER} ps -aq | xargs -r {ROOT_DOCKER} rm -f", limit_s=300)
        wait_until("all claims are gone", lambda: self.claims() == [], 60)


_FETCH = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9101/metrics').read().decode())"
