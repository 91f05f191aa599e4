# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Disks that are full where the gate writes: the request is refused and says why, nothing is half-written, and it goes on afterwards."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest

from ds01.docker_upstream import DockerClient
from tests.integration.daemons import Daemon, running, wait_until
from tests.integration.gate.gate_process import GateProcess, policy
from tests.integration.gate.people import Desk
from tests.integration.lab import Lab, Person

SLEEP = ("--network", "none", "busybox", "sleep", "600")


class SmallDisk:
    """A tmpfs of 64 KiB that can be filled to the brim."""

    def __init__(self, path: Path) -> None:
        self.path = path
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0755", "tmpfs", str(path)], check=True)

    def names(self) -> set[str]:
        """What is there besides the filling."""
        return {entry.name for entry in self.path.iterdir()} - {"filling"}

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Not a byte is left while the block runs. What was removed just before may still be open somewhere: its space is taken too."""
        filling = self.path / "filling"
        with filling.open("wb", buffering=0) as stream:
            looks_without_room = 0
            while looks_without_room < 10:
                looks_without_room = 0 if _filled(stream) else looks_without_room + 1
                threading.Event().wait(0.02)
        try:
            yield
        finally:
            filling.unlink()


def _filled(stream: FileIO) -> int:
    """Write until there is no room; how many bytes there was room for."""
    written = 0
    with contextlib.suppress(OSError):
        while count := stream.write(bytes(4096)):
            written += count
    return written


@pytest.fixture(scope="module")
def place(lab: Lab) -> Iterator[dict[str, SmallDisk]]:
    """/run, /var/lib and /var/log of the gate, each a small disk."""
    disks = {}
    for name in ("run", "lib", "log"):
        directory = lab.path / "full" / name
        directory.mkdir(parents=True)
        disks[name] = SmallDisk(directory)
    yield disks
    for disk in disks.values():
        subprocess.run(["umount", "-l", str(disk.path)], check=True)


@pytest.fixture(scope="module")
def daemon(lab: Lab, place: dict[str, SmallDisk]) -> Iterator[Daemon]:
    """A dockerd whose CDI directory is the small /run."""
    with running("sid", lab.path / "full", place["run"].path) as daemon:
        daemon.import_image("busybox:latest", lab.image)
        yield daemon


@pytest.fixture(scope="module")
def gate(lab: Lab, daemon: Daemon, people: dict[str, Person], place: dict[str, SmallDisk]) -> Iterator[GateProcess]:
    """A gate that writes to the small disks alone."""
    process = GateProcess(lab, daemon, "full")
    where = {
        "claims_lock": place["run"].path / "claims.lock",
        "queue": place["lib"].path / "queue.json",
        "image_tags": place["lib"].path / "image-tags.json",
        "events": place["log"].path / "events.jsonl",
    }
    document = policy(lab)
    document["defaults"]["lifecycle"] = {"gpu_hold": "1h"}
    try:
        yield process.open(document, **{key: str(path) for key, path in where.items()})
    finally:
        process.close()


@pytest.fixture
def alice(gate: GateProcess, people: dict[str, Person]) -> Iterator[Desk]:
    """alice; her containers are removed afterwards."""
    yield Desk(gate, people["alice"])
    root = DockerClient(str(gate.daemon.socket))
    for container in root.call("GET", "/containers/json?all=1"):
        root.call("DELETE", f"/containers/{container['Id']}?force=1")


def test_no_claim_is_made_on_a_full_run(alice: Desk, place: dict[str, SmallDisk]) -> None:
    run = place["run"]
    alice.must("run", "--rm", "--gpus", "1", "--network", "none", "busybox", "true")
    wait_until(lambda: run.names() == {"claims.lock"}, 15, "the end of the claim")
    with run.full():
        done = alice.docker("run", "-d", "--gpus", "1", *SLEEP)
        assert done.returncode == 125
        assert "No space left on device" in done.stderr
        assert run.names() == {"claims.lock"}, "something is half-written"
        assert alice.docker("run", "--rm", *SLEEP[:3], "true").returncode == 0, "a container without a GPU needs no claim"
    assert alice.docker("run", "--rm", "--gpus", "8", *SLEEP[:3], "true").returncode == 125, "more than one may have"
    alice.must("run", "--rm", "--gpus", "2", *SLEEP[:3], "true")


def test_a_claim_that_ends_on_a_full_run_ends(alice: Desk, place: dict[str, SmallDisk]) -> None:
    """Its hold can't be written down; what is kept for nobody must not stay taken for ever."""
    run = place["run"]
    identity = alice.must("run", "-d", "--gpus", "2", *SLEEP)
    with run.full():
        alice.must("rm", "-f", identity)
        wait_until(lambda: run.names() == {"claims.lock"}, 15, "the end of the removed container's claim")
    held = alice.must("run", "-d", "--gpus", "2", *SLEEP)
    with run.full():
        alice.must("kill", held)
        wait_until(lambda: run.names() == {"claims.lock"}, 15, "the end of the killed container's claim")
    assert alice.gate.events("exception") == []


def test_an_image_is_not_tagged_when_its_writer_cannot_be_noted(alice: Desk, place: dict[str, SmallDisk]) -> None:
    library = place["lib"]
    alice.must("tag", "busybox", "alice/one:1")
    before = (library.path / "image-tags.json").read_bytes()
    with library.full():
        done = alice.docker("tag", "busybox", "alice/two:1")
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert "the gate failed" not in done.stderr, "that is no bug of the gate's"
        assert (library.path / "image-tags.json").read_bytes() == before
        assert not [name for name in library.names() if "tmp" in name], "something is half-written"
        assert "alice/two" not in alice.must("images", "--format", "{{.Repository}}")
    alice.must("tag", "busybox", "alice/two:1")
    assert "alice/two:1" in (library.path / "image-tags.json").read_text()


def test_nobody_joins_a_queue_that_cannot_be_written(alice: Desk, place: dict[str, SmallDisk]) -> None:
    library = place["lib"]
    with library.full():
        reply = alice.ask("POST", "/ds01/v1/queue", {"request": "full"})
        assert reply.status == 503
        assert "can't be written down" in reply.message
    names = library.names()
    assert "queue.json" not in names or json.loads((library.path / "queue.json").read_text())["waiters"] == []
    assert alice.ask("POST", "/ds01/v1/queue", {"request": "full"}).status in (200, 201)
    assert alice.ask("DELETE", "/ds01/v1/queue").status in (200, 204)


def test_a_full_log_stops_nobody_and_has_whole_lines(alice: Desk, people: dict[str, Person], place: dict[str, SmallDisk]) -> None:
    log = place["log"]
    with log.full():
        alice.must("run", "--rm", "--gpus", "1", *SLEEP[:3], "true")

        def failed() -> bool:
            # A last block of the log may have room for some lines.
            assert alice.ask("POST", "/v1.45/containers/create", {"Image": "busybox", "HostConfig": {"Privileged": True}}).status == 403
            return bool(alice.gate.events("event_log_failed"))

        wait_until(failed, 30, "a line about the full log")
    boss = Desk(alice.gate, people["boss"])
    assert "lost" in json.dumps(boss.ask("GET", "/ds01/v1/health").json)
    alice.must("run", "--rm", "--gpus", "1", *SLEEP[:3], "true")

    def granted() -> bool:
        lines = (log.path / "events.jsonl").read_text().splitlines()
        return any(json.loads(line)["kind"] == "claim.granted" for line in lines)

    wait_until(granted, 10, "an event after the disk had room again")
