# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Sweeps beside a real dockerd and the gate, with a policy whose minutes are seconds, and what people can see of them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.integration.daemons import REPOSITORY, Daemon, die_with_parent, wait_until
from tests.integration.gate.gate_process import PYTHON_PATH, GateProcess, policy
from tests.integration.lab import Lab, Person

UNIFIED = Path("/sys/fs/cgroup/unified")
PAUSE_S = 0.3
IDLE_S, WARNING_S = 6, 3


def fast_policy(lab: Lab) -> dict[str, Any]:
    """Minutes as seconds."""
    document = policy(lab)
    document["defaults"]["lifecycle"] = {
        "idle": f"{IDLE_S}s",
        "idle_window": "1s",
        "start_grace": "0s",
        "runtime": "1h",
        "created_hold": "5s",
        "container_hold": "5s",
        "stop_grace": "1s",
        "gpu_hold": "0s",
        "keep_alive": "1h",
    }
    document["kinds"] = {
        "compose": {"lifecycle": {"idle": None, "runtime": "8s"}},
        "devcontainer": {"lifecycle": {"idle": None}},
        "unknown": {"lifecycle": {"idle": "3s"}},
    }
    document["notifications"] = {"idle_warning": f"{WARNING_S}s", "runtime_warning": "4s"}
    return document


class Sweeps:
    """The sweeps as a program that can be killed."""

    def __init__(self, lab: Lab, gate: GateProcess, daemon: Daemon) -> None:
        self._lab = lab
        self.directory = gate.state / "lifecycle"
        self.directory.mkdir(exist_ok=True)
        (self.directory / "inbox").mkdir(exist_ok=True)
        self.exemptions = self.directory / "exemptions.json"
        self._places = {
            "docker": str(daemon.socket),
            "policy": str(gate.state / "policy.json"),
            "exemptions": str(self.exemptions),
            "volatile": str(self.directory / "run.json"),
            "lasting": str(self.directory / "lib.json"),
            "lock": str(self.directory / "lock"),
            "outlook": str(self.directory / "outlook"),
            "inventory": str(self.directory / "inventory.json"),
            "inbox": str(self.directory / "inbox"),
            "events": str(self.directory / "events.jsonl"),
            "claims": str(daemon.cdi_dir),
            "claims_lock": str(gate.state / "claims.lock"),
            "queue": str(gate.state / "queue.json"),
            "maintenance": str(gate.state / "maintenance.json"),
            "cgroups": str(UNIFIED if UNIFIED.exists() else UNIFIED.parent),
            "disk": str(self.directory / "disk_quota.json"),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Sweep from now on."""
        (self.directory / "places.json").write_text(json.dumps(self._places))
        command = (sys.executable, "-m", "tests.integration.lifecycle.sweep_loop", str(self.directory / "places.json"), str(PAUSE_S))
        environment = {"PYTHONPATH": f"{REPOSITORY}:{PYTHON_PATH}", "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._lab.with_accounts(*command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=REPOSITORY,
                preexec_fn=die_with_parent,
            )

    def kill(self) -> None:
        """kill -9, wherever it is."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait; a failure carries what the sweeps said and foresaw."""
        try:
            wait_until(condition, seconds, what)
        except TimeoutError as error:
            outlook = self.directory / "outlook" / "all.json"
            ahead = outlook.read_text()[-6000:] if outlook.exists() else "nothing"
            raise AssertionError(f"{error}\nlog: {self.log[-2000:]}\nevents: {self.events()[-20:]}\nahead: {ahead}") from error

    @property
    def looked_at(self) -> int:
        """When a sweep last published what lies ahead, as the file's time; 0 where none has."""
        path = self.directory / "outlook" / "all.json"
        return path.stat().st_mtime_ns if path.exists() else 0

    @property
    def log(self) -> str:
        """What the sweeps said."""
        return (self.directory / "log").read_text()

    def events(self, container: str | None = None) -> list[dict[str, Any]]:
        """What stands in the event log, of one container or all."""
        path = self.directory / "events.jsonl"
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [one for one in found if container is None or one.get("container") == container]

    def said(self, container: str) -> list[tuple[str, str]]:
        """(kind without its family, why) of each event of a container."""
        return [(one["kind"].partition(".")[2], one["details"].get("why", "")) for one in self.events(container)]

    def inbox(self, person: Person) -> list[str]:
        """What somebody was told."""
        path = self.directory / "inbox" / f"{person.uid}.jsonl"
        return [json.loads(line)["text"] for line in path.read_text().splitlines()] if path.exists() else []


def seconds_between(earlier: dict[str, Any], later: dict[str, Any]) -> float:
    """Of two events."""
    first, second = (datetime.fromisoformat(one["time"].replace("Z", "+00:00")) for one in (earlier, later))
    return (second - first).total_seconds()


class Terminal:
    """A terminal of somebody's, as ssh would make it."""

    def __init__(self, person: Person) -> None:
        self._master, self._slave = os.openpty()
        os.fchown(self._slave, person.uid, person.uid)
        self.shown = ""

    def read(self) -> str:
        """Everything that it has shown."""
        while select.select([self._master], [], [], 0)[0]:
            self.shown += os.read(self._master, 65536).decode(errors="replace")
        return self.shown

    def close(self) -> None:
        """Hang up."""
        os.close(self._master)
        os.close(self._slave)


@contextlib.contextmanager
def terminal(person: Person) -> Iterator[Terminal]:
    """A terminal for as long as the block runs."""
    made = Terminal(person)
    try:
        yield made
    finally:
        made.close()


def one_binary(target: Path, busybox_image: Path) -> Path:
    """An image of a single static binary and nothing else: no shell by that name, no /tmp, no /etc."""
    with tarfile.open(busybox_image) as source, tarfile.open(target, "w") as archive:
        member = source.getmember("bin/busybox")
        data = source.extractfile(member)
        member.name = "busybox"
        archive.addfile(member, data)
    return target
