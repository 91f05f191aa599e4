# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The gate before a daemon of another version, which is played here: refused with the reason, or capped."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from types import SimpleNamespace
from typing import Any

import pytest

from tests.integration.daemons import wait_until
from tests.integration.gate.gate_process import GateProcess, gate_before
from tests.integration.gate.people import Desk
from tests.integration.lab import Lab, Person

Before = Callable[[str, str, str], GateProcess]


def handler_of(version: dict[str, str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            told: Any = version if self.path.endswith("/version") else {} if self.path.endswith("/info") else []
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Api-Version", version["ApiVersion"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "gate"

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    return Handler


@pytest.fixture
def before(lab: Lab, tmp_path: Path) -> Iterator[Before]:
    """``before(release, newest, oldest)``: a gate before a daemon that says this of itself."""
    opened: list[Any] = []

    def open_gate(release: str, newest: str, oldest: str) -> GateProcess:
        path = lab.path / f"played-{release}.sock"
        server = ThreadingUnixStreamServer(str(path), handler_of({"Version": release, "ApiVersion": newest, "MinAPIVersion": oldest}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        gate = gate_before(lab, SimpleNamespace(socket=path, cdi_dir=tmp_path), f"played-{release}")  # type: ignore[arg-type]
        opened.append((server, gate))
        return gate.__enter__()

    yield open_gate
    for server, gate in opened:
        gate.__exit__(None, None, None)
        server.shutdown()
        server.server_close()


def test_a_daemon_that_is_too_old_is_refused_with_the_reason(before: Before, people: dict[str, Person]) -> None:
    gate = before("20.10.24", "1.41", "1.12")
    alice = Desk(gate, people["alice"])
    for target in ("/_ping", "/v1.41/containers/json", "/version"):
        reply = alice.ask("GET", target)
        assert (reply.status, "Docker 20.10.24 is refused" in reply.message, "Docker 26" in reply.message) == (503, True, True)
    assert "is refused: it speaks API 1.41" in alice.docker("ps").stderr
    wait_until(lambda: bool(gate.events("daemon_not_supported")), 10, "that the log says so")


def test_a_newer_daemon_is_spoken_to_in_what_the_gate_knows(before: Before, people: dict[str, Person]) -> None:
    gate = before("29.0.0", "1.52", "1.44")
    alice = Desk(gate, people["alice"])
    version = alice.ask("GET", "/version")
    assert (version.json["ApiVersion"], version.json["MinAPIVersion"], version.headers["api-version"]) == ("1.51", "1.44", "1.51")
    assert alice.ask("GET", "/_ping").headers["api-version"] == "1.51"
    assert alice.ask("GET", "/v1.51/containers/json").status == 200
    for asked, word in (("1.52", "1.51"), ("1.43", "too old")):
        refused = alice.ask("GET", f"/v{asked}/containers/json")
        assert (refused.status, word in refused.message) == (400, True)
    wait_until(lambda: bool(gate.events("daemon")), 10, "that the log says what is spoken")
    assert (gate.events("daemon")[0]["api_oldest"], gate.events("daemon")[0]["api_newest"]) == ("1.44", "1.51")


def test_a_daemon_from_the_future_is_refused_with_the_reason(before: Before, people: dict[str, Person]) -> None:
    reply = Desk(before("36.0.0", "1.71", "1.60"), people["alice"]).ask("GET", "/_ping")
    assert (reply.status, "newer ds01.infra" in reply.message) == (503, True)
