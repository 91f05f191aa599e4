# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Builds by real clients through the gate: the classic builder, and buildx with cache mounts below the runtime guard."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.gate.gate_process import GateProcess, gate_before
from tests.integration.gate.more_clients import MoreClients
from tests.integration.gate.people import Desk
from tests.integration.guarded import guarded
from tests.integration.lab import Lab, Person

CLASSIC = "FROM busybox\nCOPY data /data\nRUN wc -c < /data > /size && id -u > /who\nCMD cat /size\n"
CACHED = (
    "FROM busybox\n"
    "RUN --mount=type=cache,target=/cache ls /cache > /before; echo kept > /cache/file; ls /dev > /devices\n"
    "ARG round=1\n"
    "RUN --mount=type=cache,target=/cache echo $round > /round; cat /cache/file > /after\n"
)


@pytest.fixture(scope="module")
def guarded_gate(lab: Lab, people: dict[str, Person]) -> Iterator[GateProcess]:
    """A gate that lets BuildKit through, before a daemon whose every container the guard judges."""
    with guarded("sid", lab, lab.path / "builds") as daemon, gate_before(lab, daemon, "builds", buildkit=True) as process:
        yield process


@pytest.fixture(scope="module")
def clients(lab: Lab) -> MoreClients:
    """buildx."""
    return MoreClients(lab).prepare()


@pytest.fixture
def alice(guarded_gate: GateProcess, people: dict[str, Person]) -> Desk:
    """alice at that gate."""
    return Desk(guarded_gate, people["alice"])


@pytest.fixture
def bob(guarded_gate: GateProcess, people: dict[str, Person]) -> Desk:
    """bob at that gate."""
    return Desk(guarded_gate, people["bob"])


def _context(desk: Desk, name: str, dockerfile: str, **files: bytes) -> Path:
    assert desk.person is not None
    directory = desk.person.home / name
    directory.mkdir(exist_ok=True)
    (directory / "Dockerfile").write_text(dockerfile)
    for file, data in files.items():
        (directory / file).write_bytes(data)
    for path in (directory, *directory.iterdir()):
        os.chown(path, desk.person.uid, desk.person.uid)
    return directory


def test_the_classic_builder(alice: Desk, bob: Desk) -> None:
    context = _context(alice, "classic", CLASSIC, data=bytes(1 << 20))
    alice.must("build", "-q", "-t", "alice/classic", str(context))
    assert alice.must("run", "--rm", "alice/classic") == str(1 << 20)
    assert alice.must("inspect", "-f", '{{index .Config.Labels "ds01.user"}}', "alice/classic") == "alice"
    assert bob.docker("build", "-q", "-t", "alice/classic", str(_context(bob, "classic", CLASSIC, data=b""))).returncode != 0


def test_buildx_with_a_cache_mount(alice: Desk, clients: MoreClients) -> None:
    context = _context(alice, "cached", CACHED)
    for number in ("1", "2"):
        clients.must(alice, "docker", "buildx", "build", "--load", "--build-arg", f"round={number}", "-t", "alice/cached", str(context))
        assert alice.must("run", "--rm", "alice/cached", "cat", "/round", "/after") == f"{number}\nkept"
    assert "nvidia" not in alice.must("run", "--rm", "alice/cached", "cat", "/devices")


def test_a_step_of_buildx_runs_in_the_slice_of_builds(alice: Desk, clients: MoreClients) -> None:
    context = _context(alice, "where", "FROM busybox\nRUN cat /proc/self/cgroup > /cgroup\n")
    clients.must(alice, "docker", "buildx", "build", "--load", "-t", "alice/where", str(context))
    assert "/ds01.slice/ds01-build.slice/" in alice.must("run", "--rm", "alice/where", "cat", "/cgroup")


def test_a_build_that_wants_more_than_it_may_have_is_refused(alice: Desk, clients: MoreClients) -> None:
    context = _context(alice, "insecure", "# syntax=docker/dockerfile:1\nFROM busybox\nRUN --security=insecure mount -t tmpfs none /mnt\n")
    done = clients.run(alice, "docker", "buildx", "build", "--allow", "security.insecure", "--load", "-t", "alice/insecure", str(context))
    assert done.returncode != 0
    assert alice.docker("image", "inspect", "alice/insecure").returncode != 0


def test_an_image_that_buildx_saved_is_loaded_by_an_admin(
    alice: Desk, guarded_gate: GateProcess, people: dict[str, Person], clients: MoreClients
) -> None:
    context = _context(alice, "saved", "FROM busybox\nRUN echo saved > /word\n")
    clients.must(alice, "docker", "buildx", "build", "--load", "-t", "alice/saved", str(context))
    assert alice.person is not None
    archive = alice.person.home / "saved.tar"
    archive.unlink(missing_ok=True)
    alice.must("save", "-o", str(archive), "alice/saved")
    alice.must("rmi", "-f", "alice/saved")
    boss = Desk(guarded_gate, people["boss"])
    assert boss.person is not None
    carried = boss.person.home / "saved.tar"
    carried.write_bytes(archive.read_bytes())
    os.chown(carried, boss.person.uid, boss.person.uid)
    assert "alice/saved" in boss.must("load", "-i", str(carried))
    assert boss.must("run", "--rm", "alice/saved", "cat", "/word") == "saved"


@pytest.fixture
def endless_build(bob: Desk) -> Iterator[threading.Thread]:
    """A build of bob's with the id ``one``, over a session that never says anything; the thread ends with it."""
    session, build = bob.wire(), bob.wire()
    session.send(
        b"POST /session HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nX-Docker-Expose-Session-Uuid: quiet\r\n"
        b"X-Docker-Expose-Session-Name: x\r\nX-Docker-Expose-Session-Grpc-Method: /moby.filesync.v1.FileSync/DiffCopy\r\n\r\n"
    )
    assert session.head()[0] == 101
    build.send(
        b"POST /build?version=2&remote=client-session&session=quiet&buildid=one HTTP/1.1\r\nHost: d\r\nConnection: close\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    assert build.head()[0] == 200
    running = threading.Thread(target=build.rest, daemon=True)
    running.start()
    yield running
    for wire in (session, build):
        wire.close()


def test_nobody_cancels_anothers_build(alice: Desk, bob: Desk, endless_build: threading.Thread) -> None:
    answers = [alice.ask("POST", f"/v1.45/build/cancel?id={name}") for name in ("one", "u5002.one", "nobodys", "upload-request:one")]
    assert len({(answer.status, answer.body) for answer in answers}) == 1
    endless_build.join(1)
    assert endless_build.is_alive()
    assert bob.ask("POST", "/v1.45/build/cancel?id=one").status < 300
    endless_build.join(20)
    assert not endless_build.is_alive()
