# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A host for sweeps: a dockerd that answers from a script, a cgroup tree and a /proc of files, and a clock that is set."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ds01_lifecycle.look import Clocks
from ds01_lifecycle.settings import Places
from ds01_lifecycle.sweep import Sweep

from ds01.claim_store import ClaimStore
from ds01.core.cdi_spec import spec_for
from ds01.core.offers import offers
from ds01.exemption_file import PolicyWithExemptions
from ds01.policy_file import Resolver, UserFacts
from tests.allocation_examples import base_spec, claim, inventory, whole_gpu

TICKS = os.sysconf("SC_CLK_TCK")
UID = 61001
STOCK = inventory(whole_gpu(0))
POLICY: dict[str, Any] = {
    "version": 1,
    "default_group": "student",
    "groups": {"student": {}, "admin": {"admin": True, "members": ["root2"]}},
    "defaults": {
        "lifecycle": {
            "idle": "30m",
            "runtime": "24h",
            "start_grace": "0",
            "idle_window": "15m",
            "created_hold": "30m",
            "container_hold": "1h",
            "stop_grace": "60s",
        }
    },
}


class Dockerd(socketserver.ThreadingUnixStreamServer):
    """``containers`` are list entries by id; ``slow`` ids take until ``release`` is set to stop, ``broken`` ones answer 500.

    ``silent``: nothing is answered."""

    daemon_threads = True
    request_queue_size = 256
    containers: dict[str, dict[str, Any]]
    calls: list[str]
    slow: set[str]
    broken: set[str]
    release: threading.Event
    silent: bool


class _Handler(socketserver.StreamRequestHandler):
    server: Dockerd

    def handle(self) -> None:
        method, target, _ = self.rfile.readline().decode().split()
        while self.rfile.readline().strip():
            continue
        self.server.calls.append(f"{method} {target}")
        if self.server.silent:
            self.server.release.wait(30)
        if method == "GET":
            return self._answer(200, list(self.server.containers.values()))
        container = target.split("/")[2].partition("?")[0]
        if container in self.server.broken:
            return self._answer(500, {"message": "cannot stop container: tried to kill container, but did not receive an exit event"})
        if container in self.server.slow:
            self.server.release.wait(30)
        if method == "DELETE":
            self.server.containers.pop(container)
        else:
            self.server.containers[container]["State"] = "exited"
        return self._answer(204, None)

    def _answer(self, status: int, body: object) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.wfile.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(data)) + data)


class World:
    """Everything below one directory; ``uptime`` and ``now`` are the two clocks."""

    def __init__(self, root: Path, dockerd: Dockerd) -> None:
        self.root, self.dockerd = root, dockerd
        self.uptime, self.now = 100000.0, 1792890000.0
        self.resolved = UserFacts("student1", UID, str(root / "home"), ())
        self.places = Places(
            docker=str(dockerd.server_address),
            policy=str(root / "policy.json"),
            exemptions=str(root / "exemptions.json"),
            volatile=str(root / "run.json"),
            lasting=str(root / "lib.json"),
            lock=str(root / "lock"),
            outlook=root / "outlook",
            inventory=str(root / "inventory.json"),
            inbox=root / "inbox",
            events=str(root / "events.jsonl"),
            claims=root / "cdi",
            claims_lock=root / "claims.lock",
            queue=str(root / "queue.json"),
            maintenance=str(root / "maintenance.json"),
            disk=root / "disk_quota.json",
            cgroups=root / "cgroup",
            proc=str(root / "proc"),
            pts=str(root / "pts"),
        )
        for directory in ("inbox", "cdi", "pts", "cgroup", "proc/sys/kernel/random", "home"):
            (root / directory).mkdir(parents=True)
        (root / "proc/sys/kernel/random/boot_id").write_text("boot-1\n")
        self.policy(POLICY)
        self.inventory()

    def policy(self, document: Mapping[str, Any]) -> None:
        (self.root / "policy.json").write_text(json.dumps(document))

    def inventory(self, workloads: list[dict[str, Any]] | None = None, gpus: list[dict[str, Any]] | None = None) -> None:
        """What the watcher says now: every source answers."""
        document = {
            "uptime": self.uptime,
            "sources": {"gpu": {"ok": True, "age_s": 1.0}, "docker": {"ok": True}},
            "gpus": gpus or [],
            "workloads": workloads or [],
        }
        (self.root / "inventory.json").write_text(json.dumps(document))

    def container(self, number: int, state: str = "running", **labels: str) -> str:
        """A container of the person, made through the gate, unless labels say otherwise; its process has the pid ``1000 + number``."""
        container_id = f"{number:064x}"
        own = {
            "ds01.uid": str(UID),
            "ds01.user": "student1",
            "ds01.kind": "docker",
            **{key: value for key, value in labels.items() if value},
        }
        own = {key: value for key, value in own.items() if labels.get(key, value)}
        self.dockerd.containers[container_id] = {
            "Id": container_id,
            "Names": [f"/job{number}"],
            "Image": "img",
            "State": state,
            "Labels": own,
            "Created": 1792000000,
            "Mounts": [],
        }
        if state == "running":
            self.live(number, own.get("ds01.uid"))
        return container_id

    def live(self, number: int, uid: str | None, started: float = 90000.0) -> Path:
        """Give the container a cgroup and a process; returns its root directory."""
        pid, container_id = 1000 + number, f"{number:064x}"
        parent = f"ds01.slice/ds01-u{uid}.slice/ds01-u{uid}-nogpu.slice" if uid else "system.slice"
        scope = self.root / "cgroup" / parent / f"docker-{container_id}.scope"
        scope.mkdir(parents=True, exist_ok=True)
        (scope / "cgroup.procs").write_text(f"{pid}\n")
        (scope / "cpu.stat").write_text("usage_usec 1000000\nuser_usec 1\n")
        process = self.root / "proc" / str(pid)
        (process / "net").mkdir(parents=True, exist_ok=True)
        fields = ["S", *["0"] * 18, str(int(started * TICKS)), "0"]
        (process / "stat").write_text(f"{pid} (a b) c) {' '.join(fields)}\n")
        (process / "net/dev").write_text("Inter-|\n face |\n    lo: 900 0 0\n  eth0: 1234 5 0 0\n")
        (process / "cgroup").write_text(f"0::/{parent}/docker-{container_id}.scope\n")
        (process / "environ").write_bytes(b"PATH=/bin\0HOME=/home/me\0")
        inside = self.root / "inside" / str(number)
        (inside / "dev/shm").mkdir(parents=True, exist_ok=True)
        if not (process / "root").exists():
            (process / "root").symlink_to(inside)
        return inside

    def claim(self, number: int) -> None:
        """The container of that number holds a GPU."""
        device = next(iter(offers(STOCK))).device
        made = claim(number, (device,), UID)
        ClaimStore(self.places.claims, self.places.claims_lock).write(made.id, spec_for(made, base_spec(STOCK)))

    def sweep(self) -> int:
        """One sweep by a new process, as the timer makes it."""
        policies = PolicyWithExemptions(self.places.policy, self.places.exemptions)
        resolver = Resolver(policies, lookup=self._lookup, now=lambda: datetime.fromtimestamp(self.now, timezone.utc))
        return Sweep(self.places, resolver, None, Clocks(lambda: self.uptime, lambda: self.now)).run()

    def _lookup(self, uid: int) -> UserFacts:
        if uid != UID:
            raise LookupError(f"uid {uid}")
        return self.resolved

    def minutes(self, count: int, step: float = 60.0) -> None:
        """Let time pass, with a sweep each minute and a watcher that answers."""
        for _ in range(count):
            self.uptime += step
            self.now += step
            document = json.loads((self.root / "inventory.json").read_text())
            (self.root / "inventory.json").write_text(json.dumps({**document, "uptime": self.uptime}))
            self.sweep()

    def events(self) -> list[dict[str, Any]]:
        """What the log holds."""
        path = Path(self.places.events)
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def said(self) -> list[tuple[str, str, str]]:
        """(kind, container, why) of every event."""
        return [(one["kind"], one.get("container", ""), one["details"].get("why", "")) for one in self.events()]

    def inbox(self) -> list[str]:
        """The texts in the person's inbox."""
        path = self.places.inbox / f"{UID}.jsonl"
        return [json.loads(line)["text"] for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def world(root: Path) -> Iterator[World]:
    """A world with its dockerd running."""
    server = Dockerd(str(root / "d.sock"), _Handler)
    server.containers, server.calls, server.slow, server.broken, server.release = {}, [], set(), set(), threading.Event()
    server.silent = False
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield World(root, server)
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
