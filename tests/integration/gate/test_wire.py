# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The HTTP that real clients speak, and HTTP that none should: each seen with a real daemon behind the gate."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import subprocess
import sys
import tarfile
import time

import docker
import pytest

from tests.integration.daemons import wait_until
from tests.integration.gate.people import Desk, Wire, acting_as
from tests.integration.lab import Person

PING = b"HEAD /_ping HTTP/1.1\r\nHost: docker\r\n\r\n"
CREATE = b"POST /v1.45/containers/create HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"


def tar_of(name: str, data: bytes) -> bytes:
    """An archive of one file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def copied(desk: Desk, source: str) -> bytes:
    """A file of a container, as ``docker cp`` brings it."""
    assert desk.person is not None
    target = desk.person.home / "copied"
    desk.must("cp", source, str(target))
    return target.read_bytes()


def test_many_requests_on_one_connection(alice: Desk) -> None:
    wire = alice.wire()
    wire.send(PING)
    first = wire.reply("HEAD")
    assert first.status == 200
    assert first.headers["api-version"] in ("1.45", "1.51")
    for _ in range(4):
        wire.send(b"GET /v1.45/containers/json HTTP/1.1\r\nHost: docker\r\n\r\n")
        assert wire.reply().json == []
    wire.close()


def test_pipelined_requests_are_judged_one_by_one(alice: Desk, bob: Desk) -> None:
    bob.must("run", "-d", "--name", "foreign", "busybox", "sleep", "600")
    wire = alice.wire()
    wire.send(PING + b"DELETE /v1.45/containers/foreign?force=1 HTTP/1.1\r\nHost: d\r\n\r\n" + PING)
    assert [wire.reply("HEAD").status, wire.reply().status, wire.reply("HEAD").status] == [200, 404, 200]
    assert bob.must("ps", "-q") != ""
    wire.close()


def test_pings_again_and_again_are_answered_as_dockerd_answers_them(alice: Desk) -> None:
    with contextlib.closing(Wire(str(alice.gate.daemon.socket), None)) as direct, contextlib.closing(alice.wire()) as wire:
        for method in ("GET", "GET", "HEAD", "GET", "HEAD", "HEAD"):
            replies = []
            for one in (direct, wire):
                one.send(method.encode() + b" /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
                reply = one.reply(method)
                replies.append((reply.status, reply.body, {name: value for name, value in reply.headers.items() if name != "date"}))
            assert replies[0] == replies[1]


def test_an_upload_of_known_length_ends_where_it_ends(alice: Desk) -> None:
    alice.must("create", "--name", "box", "busybox", "true")
    body = tar_of("big", bytes(3 << 20) + b"end")
    put = b"PUT /v1.45/containers/box/archive?path=/ HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nContent-Length: %d\r\n\r\n"
    wire = alice.wire()
    wire.send(put % len(body) + body + PING)
    assert [wire.reply().status, wire.reply("HEAD").status] == [200, 200]
    wire.close()
    assert copied(alice, "box:/big").endswith(b"end")


def test_an_upload_that_breaks_off_is_not_taken_for_whole(alice: Desk) -> None:
    alice.must("create", "--name", "box", "busybox", "true")
    whole = tar_of("big", b"x" * (1 << 20))
    body = whole[:300_000]
    head = b"PUT /v1.45/containers/box/archive?path=/ HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\n"
    for framing, sent in (
        (b"Content-Length: %d" % len(whole), body),
        (b"Transfer-Encoding: chunked", b"%x\r\n%s" % (len(body), body)),
    ):
        wire = alice.wire()
        wire.send(head + framing + b"\r\n\r\n" + sent)
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.reply().status != 200, framing
        wire.close()


@pytest.mark.both
def test_a_chunked_body_is_framed_anew(alice: Desk) -> None:
    body = json.dumps({"Image": "busybox"}).encode()
    wire = alice.wire()
    wire.send(CREATE + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
    assert wire.reply().status == 201
    wire.close()


def test_expect_is_answered_after_the_head_was_admitted(alice: Desk) -> None:
    body = json.dumps({"Image": "busybox"}).encode()
    wire = alice.wire()
    wire.send(CREATE + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
    assert wire.head()[0] == 100
    wire.send(body)
    assert wire.reply().status == 201
    wire.close()


def test_connection_close_is_honoured(alice: Desk) -> None:
    wire = alice.wire()
    wire.send(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
    assert wire.rest().endswith(b"OK")
    wire.close()


@pytest.mark.both
def test_the_head_of_a_wait_comes_at_once(alice: Desk) -> None:
    identity = alice.must("run", "-d", "busybox", "sleep", "600")
    wire = alice.wire()
    wire.send(b"POST /v1.45/containers/%s/wait?condition=removed HTTP/1.1\r\nHost: d\r\n\r\n" % identity.encode())
    started = time.monotonic()
    assert wire.head()[0] == 200
    assert time.monotonic() - started < 5
    alice.must("rm", "-f", identity)
    assert json.loads(wire.chunk())["StatusCode"] == 137
    wire.close()


def test_a_client_that_stops_writing_still_gets_its_answer(alice: Desk) -> None:
    wire = alice.wire()
    wire.send(b"GET /v1.45/containers/json HTTP/1.1\r\nHost: d\r\n\r\n")
    wire.socket.shutdown(socket.SHUT_WR)
    assert wire.reply().json == []
    wire.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /_ping HTTP/1.1\nHost: d\n\n" + b"\r\n\r\n", 400),
        (b"GET http://evil/_ping HTTP/1.1\r\nHost: d\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /_ping HTTP/1.1\r\nHost: d\r\nHost: e\r\n\r\n", 400),
        (b"get /_ping HTTP/1.1\r\nHost: d\r\n\r\n", 400),
        (CREATE + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (CREATE + b"Transfer-Encoding: xchunked\r\n\r\n", 400),
        (CREATE + b"Content-Length: 1048577\r\n\r\n", 413),
        (CREATE + b"Content-Length: 104857600\r\n\r\n", 413),
        (b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"OPTIONS /containers/json HTTP/1.1\r\nHost: d\r\n\r\n", 403),
        (b"GET /%63ontainers/json HTTP/1.1\r\nHost: d\r\n\r\n", 400),
        (b"GET //v1.45/containers/json HTTP/1.1\r\nHost: d\r\n\r\n", 400),
        (b"GET /v1.23/containers/json HTTP/1.1\r\nHost: d\r\n\r\n", 400),
        (b"GET /debug/pprof/ HTTP/1.1\r\nHost: d\r\n\r\n", 403),
    ],
)
def test_what_is_not_understood_in_one_way_only(alice: Desk, request_bytes: bytes, status: int) -> None:
    wire = alice.wire()
    wire.send(request_bytes)
    assert wire.head()[0] == status
    wire.close()


def test_a_body_that_outgrows_its_chunks_is_cut_off(alice: Desk) -> None:
    wire = alice.wire()
    wire.send(CREATE + b"Transfer-Encoding: chunked\r\n\r\n")
    piece = b"40000\r\n" + b" " * 0x40000 + b"\r\n"
    try:
        for _ in range(8):
            wire.send(piece)
    except OSError:
        pass  # the gate has stopped reading: that is the point
    assert wire.head()[0] == 413
    wire.close()


def test_a_slow_head_is_given_up(alice: Desk) -> None:
    wire = alice.wire()
    wire.send(b"GET /_ping HTTP/1.1\r\n")
    assert wire.head()[0] == 408
    wire.close()


def test_a_request_hidden_in_a_body_is_read_as_a_body(alice: Desk, bob: Desk) -> None:
    bob.must("run", "-d", "--name", "foreign", "busybox", "sleep", "600")
    hidden = b"DELETE /v1.45/containers/foreign?force=1 HTTP/1.1\r\nHost: d\r\n\r\n"
    wire = alice.wire()
    wire.send(b"GET /_ping HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n" % len(hidden) + hidden + PING)
    assert wire.reply().status in (200, 400)
    wire.close()
    assert bob.must("ps", "-q") != ""


def test_too_many_connections_of_one_person(alice: Desk, bob: Desk) -> None:
    """Case 120."""
    wires = [alice.wire() for _ in range(128)]
    wait_until(lambda: _over(alice), 30, "the limit of connections")
    assert bob.must("ps", "-q") == ""
    for wire in wires:
        wire.close()
    wait_until(lambda: not _over(alice), 30, "the end of the connections")


def _over(desk: Desk) -> bool:
    return desk.ask("GET", "/_ping").status == 503


def test_root_in_another_pid_namespace_is_nobody(alice: Desk) -> None:
    """Case 117: a container that root gave the socket to; its uid 0 is not root here."""
    script = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
        "s.sendall(b'GET /v1.45/containers/json HTTP/1.0\\r\\n\\r\\n'); print(s.recv(100).split()[1].decode())"
    )
    command = [sys.executable, "-c", script, str(alice.gate.socket)]
    for inside, status in ((["unshare", "--pid", "--fork"], "403"), ([], "200")):
        done = subprocess.run([*inside, *command], capture_output=True, text=True, check=True)
        assert done.stdout == f"{status}\n"


def test_somebody_without_an_account(alice: Desk) -> None:
    wire = Wire(str(alice.gate.socket), Person("nobody", 6666, alice.lab.homes))
    wire.send(b"GET /v1.45/containers/json HTTP/1.1\r\nHost: d\r\n\r\n")
    assert wire.reply().status == 403
    wire.close()


@pytest.mark.both
def test_docker_sdk(alice: Desk) -> None:
    assert alice.person is not None
    with acting_as(alice.person):
        client = docker.DockerClient(base_url=f"unix://{alice.gate.socket}")
        assert client.containers.run("busybox", "echo hi", remove=True) == b"hi\n"
        box = client.containers.run("busybox", "sleep 600", detach=True, name="sdk")
        assert box.exec_run("echo inside").output == b"inside\n"
        link = box.attach_socket(params={"stdin": 1, "stream": 1})
        link.close()
        assert box.stats(stream=False)["id"] == box.id
        assert [one.name for one in client.containers.list()] == ["sdk"]
        assert client.volumes.list() == []
        box.remove(force=True)
        client.close()


def test_the_documents_of_v1(alice: Desk, boss: Desk) -> None:
    assert alice.ask("GET", "/ds01/v1/me").json["user"] == "alice"
    assert alice.ask("GET", "/ds01/v1/limits").json["gpu"]["equivalents"] == 8
    assert alice.ask("GET", "/ds01/v1/health").json == {"docker": True, "policy": True, "ok": True}
    assert len(alice.ask("GET", "/ds01/v1/status").json["gpus"]) == 8
    assert alice.ask("GET", "/ds01/v1/usage").json["containers"]["used"] == 0
    assert alice.ask("GET", "/ds01/v1/claims").json == {"claims": []}
    assert boss.ask("GET", "/ds01/v1/me").json["admin"] is True
    assert alice.ask("GET", "/ds01/v1/nothing").status == 404
    assert alice.ask("POST", "/ds01/v1/me").status == 405
