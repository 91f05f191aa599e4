# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A server on which everything is well, as the checks of ``ds01 health`` see it; tests break one part of it."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ds01_cli.health_checks import Checks, Places

from ds01 import host_health
from ds01.claim_store import ClaimStore
from ds01.core.cdi_spec import spec_for
from ds01.core.claim import Claim
from ds01.core.devices_json import to_json
from ds01.core.offers import offers
from tests.allocation_examples import SEVEN, base_spec, claim, inventory, mig_gpu

GOOD_UNIT = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "Result": "success",
    "UnitFileState": "enabled",
    "ActiveEnterTimestampMonotonic": "900000000000000",
    "WatchdogUSec": "1min",
    "NRestarts": "0",
    "DevicePolicy": "closed",
    "DeviceAllow": "char-[!n]* rwm",
}
STOCK = inventory(mig_gpu(0, SEVEN))
HELD = claim(1, (offers(STOCK)[0].device,))
SECOND = claim(2, HELD.devices, container_id=HELD.container_id)


class World:
    """``units`` and ``answers`` (program → output, or NoAnswer) are what the host says; ``docker``, ``gate``, ``prometheus`` and
    ``alertmanager`` map a path to an answer, None for none."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = 0
        self.owner = os.getuid()
        self.clock: bool | None = True
        self.units: dict[str, dict[str, str]] = {"ds01-direct.socket": {"LoadState": "not-found", "ActiveState": "inactive"}}
        self.listed: dict[str, list[str]] = {"--state=failed": [], "user-*.slice": ["user-0.slice", "user-1000.slice"]}
        self.answers: dict[str, Any] = {"ds01-fence": [], "ds01-mig": {"actions": []}}
        info = {
            "DefaultRuntime": "ds01-guard",
            "Runtimes": {"ds01-guard": {"path": f"{directory}/current/lib/ds01_guard/oci-runtime.sh"}},
            "CgroupDriver": "systemd",
            "LiveRestoreEnabled": True,
            "ServerVersion": "26.1.5",
        }
        container = {"Id": HELD.container_id, "State": "running", "Labels": {"ds01.claim": HELD.id}}
        self.docker: dict[str, Any] = {"/info": info, "/containers/json": [container]}
        self.gate: dict[str, Any] = {"/ds01/v1/me": {"user": "root"}}
        targets = {"data": {"activeTargets": [{"labels": {"job": "ds01"}, "health": "up"}]}}
        rules = {"data": {"groups": [{"rules": [{"name": "DS01GateDown", "health": "ok", "state": "inactive"}]}]}}
        self.web: dict[str, Any] = {
            "/api/v1/targets": targets,
            "/api/v1/rules": rules,
            "/api/v2/status": {"config": {"original": "receivers:\n- email_configs: []\n"}},
            "/metrics": 'ds01_events_unwritten_total{writer="ds01-watch"} 0.0\n',
        }
        self._write()

    def _write(self) -> None:
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        gpus = [{"index": 0, "healthy": True, "answers": True}]
        sources = {"docker": {"ok": True}, "gpu": {"ok": True}}
        self.inventory = {"uptime": uptime, "sources": sources, "workloads": [{"kind": "managed"}], "gpus": gpus}
        (self.directory / "current").mkdir()
        os.utime(self.directory / "current", (1, 1))
        (self.directory / "cdi").mkdir()
        (self.directory / "log").mkdir(mode=0o750)
        (self.directory / "log" / "events.jsonl").touch(mode=0o640)
        (self.directory / "cgroups" / "ds01.slice" / "ds01-u1000.slice" / f"ds01-u1000-{HELD.id}.slice").mkdir(parents=True)
        self.put("inventory.json", self.inventory)
        self.put("devices.json", to_json(STOCK))
        self.put("fence.json", {"services": [], "home_roots": ["/home"], "enforced": True})
        self.put("mig.json", {"format": 1})
        self.put("policy.json", {"version": 1, "default_group": "all", "groups": {"all": {}}})

    def put(self, name: str, document: Any) -> None:
        """A file of the world."""
        (self.directory / name).write_text(document if isinstance(document, str) else json.dumps(document))

    def hold(self, one: Claim) -> None:
        """A claim on disk."""
        ClaimStore(self.directory / "cdi", self.directory / "claims.lock").write(one.id, spec_for(one, base_spec(STOCK)))

    def remove(self, name: str) -> None:
        """A file that is not there."""
        (self.directory / name).unlink()

    def places(self) -> Places:
        """Where its parts are."""
        at = self.directory
        web = f"http://127.0.0.1:{self.port}"
        return Places(
            docker=str(at / "docker.sock"),
            release=str(at / "current"),
            claims=str(at / "cdi"),
            claims_lock=str(at / "claims.lock"),
            devices=str(at / "devices.json"),
            inventory=str(at / "inventory.json"),
            policy=str(at / "policy.json"),
            fence=str(at / "fence.json"),
            mig=str(at / "mig.json"),
            events=str(at / "log" / "events.jsonl"),
            guard=str(at / "guard.json"),
            cgroups=str(at / "cgroups"),
            metrics=f"{web}/metrics",
            prometheus=web,
            alertmanager=web,
            disks=(str(at),),
            owner=self.owner,
        )

    def output(self, *command: str, timeout: float = 5.0) -> str:
        """What a program of the host prints."""
        if command[:2] == ("systemctl", "list-units"):
            return "".join(f"{name} loaded active\n" for name in self.listed[command[-1]])
        if command[0] == "systemctl":
            names = command[command.index("--") + 1 :]
            return "\n\n".join(self._shown(name) for name in names) + "\n"
        answer = self.answers[os.path.basename(command[0])]
        if isinstance(answer, Exception):
            raise answer
        return json.dumps(answer)

    def _shown(self, name: str) -> str:
        values = {"Id": name, **GOOD_UNIT, **self.units.get(name, {})}
        return "\n".join(f"{key}={value}" for key, value in values.items())


def _handler(answers: Callable[[], dict[str, Any]]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers().get(self.path.partition("?")[0])
            body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "local"

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    return Handler


class _UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@contextlib.contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The world, with servers behind its sockets."""
    made = World(tmp_path)
    made.hold(HELD)
    monkeypatch.setattr(host_health, "output", made.output)
    monkeypatch.setattr(host_health, "clock_synchronised", lambda: made.clock)
    monkeypatch.setenv("DS01_GATE_SOCKET", str(tmp_path / "gate.sock"))
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(lambda: made.web))
    web.daemon_threads = True
    made.port = web.server_address[1]
    with contextlib.ExitStack() as stack:
        stack.enter_context(_serving(web))
        stack.enter_context(_serving(_UnixServer(str(tmp_path / "docker.sock"), _handler(lambda: made.docker))))
        stack.enter_context(_serving(_UnixServer(str(tmp_path / "gate.sock"), _handler(lambda: made.gate))))
        yield made


@pytest.fixture
def checks(world: World) -> Checks:
    """The checks over that world."""
    return Checks(world.places())


def hanging_socket(path: str) -> socket.socket:
    """A socket that takes connections and never answers."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(8)
    return server
