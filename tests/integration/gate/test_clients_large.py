# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Much data through the docker CLI and the gate, which keeps none of it; and streams that have no end."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.gate.gate_process import GateProcess
from tests.integration.gate.people import Desk

MEGABYTE = 1 << 20
SIZE = 500 * MEGABYTE
MAY_GROW = 8 * MEGABYTE
"""Bytes by which the gate's memory may grow meanwhile, at its peak."""


def _memory(gate: GateProcess, field: str) -> int:
    """Bytes of one field of the gate's status."""
    lines = Path(f"/proc/{gate.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:"))) << 10


def _reset_peak(gate: GateProcess) -> int:
    """Let VmHWM begin anew; the memory of now."""
    Path(f"/proc/{gate.pid}/clear_refs").write_text("5")
    return _memory(gate, "VmRSS")


@pytest.fixture
def big(alice: Desk) -> Iterator[Path]:
    """A file of 500 MB no two megabytes of which are equal."""
    assert alice.person is not None
    path = alice.person.home / "big"
    block = os.urandom(MEGABYTE - 8)
    with path.open("wb") as file:
        for number in range(SIZE // MEGABYTE):
            file.write(number.to_bytes(8, "big") + block)
    yield path
    path.unlink()
    path.with_name("back").unlink(missing_ok=True)


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()


def test_copy_of_500_megabytes_both_ways(alice: Desk, big: Path) -> None:
    alice.must("run", "-d", "--name", "box", "busybox", "sleep", "600")
    resting = _reset_peak(alice.gate)
    alice.must("cp", str(big), "box:/tmp/big")
    assert alice.must("exec", "box", "sha1sum", "/tmp/big").split()[0] == _sum(big)
    back = big.with_name("back")
    alice.must("cp", "box:/tmp/big", str(back))
    assert _sum(back) == _sum(big)
    grown = _memory(alice.gate, "VmHWM") - resting
    assert grown < MAY_GROW, f"the gate grew by {grown >> 20} MB"


@pytest.mark.both
def test_save_into_load(alice: Desk) -> None:
    """One CLI's output is the other's input, as people move an image from server to server."""
    alice.must("run", "--name", "maker", "busybox", "sh", "-c", "head -c 20000000 /dev/urandom > /noise")
    alice.must("commit", "maker", "alice/moved:1")
    alice.must("rm", "maker")
    lab, socket = alice.lab, alice.gate.socket
    environment = lab.environment(alice.person)
    writer = subprocess.Popen(lab.docker(socket, alice.person, "save", "alice/moved:1"), stdout=subprocess.PIPE, env=environment)
    reader = subprocess.run(
        lab.docker(socket, alice.person, "load"),
        stdin=writer.stdout,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=environment,
    )
    assert writer.wait(20) == 0
    assert "alice/moved:1" in reader.stdout
    alice.must("rmi", "alice/moved:1")


@pytest.mark.both
def test_stats_stream_until_they_are_ended(alice: Desk, bob: Desk) -> None:
    alice.must("run", "-d", "--name", "mine", "busybox", "sleep", "600")
    bob.must("run", "-d", "--name", "foreign", "busybox", "sleep", "600")
    watcher = alice.start("stats", "--format", "{{.Name}} {{.PIDs}}")
    assert watcher.stdout is not None
    seen = ""
    while seen.count("mine 1") < 2:
        piece = watcher.stdout.readline().decode()
        assert piece, "the stream ended"
        seen += piece
    alice.must("rm", "-f", "mine")
    assert watcher.poll() is None
    watcher.kill()
    watcher.wait()
    assert "foreign" not in seen
    done = alice.docker("stats", "--no-stream", "foreign")
    assert done.returncode == 1
    assert "No such container" in done.stderr
