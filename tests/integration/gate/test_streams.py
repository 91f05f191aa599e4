# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Terminals and endless answers outlive the gate, because the splice program carries them; without it the gate does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.daemons import wait_until
from tests.integration.gate.people import Desk


@pytest.fixture
def box(alice: Desk) -> str:
    """alice's running container."""
    return alice.must("run", "-d", "--name", "box", "busybox", "sleep", "600")


@pytest.mark.both
def test_a_session_survives_a_killed_gate(alice: Desk, box: str) -> None:
    session = alice.start("exec", "-i", "box", "sh")
    assert session.stdin is not None
    assert session.stdout is not None
    session.stdin.write(b"echo before\n")
    session.stdin.flush()
    assert session.stdout.readline() == b"before\n"
    alice.gate.kill()
    session.stdin.write(b"echo while away\n")
    session.stdin.flush()
    assert session.stdout.readline() == b"while away\n"
    alice.gate.start()
    session.stdin.write(b"echo after; exit\n")
    session.stdin.close()
    assert session.stdout.read() == b"after\n"
    session.wait(20)


def _waits(desk: Desk) -> int:
    """How many waits the gate has handed over."""
    return sum(event["route"].endswith("/wait") for event in desk.gate.events("request"))


def test_logs_and_a_wait_survive_a_killed_gate(alice: Desk) -> None:
    alice.must("run", "-d", "--name", "talk", "busybox", "sh", "-c", "echo one; while [ ! -e /go ]; do sleep 0.1; done; echo two; exit 5")
    waits = _waits(alice)
    follower, waiter = alice.start("logs", "-f", "talk"), alice.start("wait", "talk")
    assert follower.stdout is not None
    assert waiter.stdout is not None
    assert follower.stdout.readline() == b"one\n"
    wait_until(lambda: _waits(alice) > waits, 20, "the wait")
    alice.gate.kill()
    alice.gate.start()
    alice.must("exec", "talk", "touch", "/go")
    assert follower.stdout.readline() == b"two\n"
    assert waiter.stdout.readline() == b"5\n"
    assert (follower.wait(20), waiter.wait(20)) == (0, 0)


@pytest.fixture
def without_splice(alice: Desk) -> Iterator[None]:
    """The splice program is away."""
    alice.gate.stop_splice()
    yield
    alice.gate.start_splice()


def test_without_the_splice_program_the_gate_carries_streams(alice: Desk, without_splice: None) -> None:
    assert alice.must("run", "--rm", "-i", "busybox", "cat", stdin="x" * 500_000) == "x" * 500_000
    assert alice.must("run", "--rm", "busybox", "sh", "-c", "seq 1 50000 | wc -l") == "50000"
    assert alice.gate.events("splice_away")


def test_a_client_that_goes_away_ends_its_exec_stream(alice: Desk) -> None:
    alice.must("run", "-d", "--name", "box", "busybox", "sleep", "600")
    session = alice.start("exec", "-i", "box", "cat")
    assert session.stdin is not None
    assert session.stdout is not None
    session.stdin.write(b"x\n")
    session.stdin.flush()
    assert session.stdout.readline() == b"x\n"
    session.kill()
    session.wait()
    wait_until(lambda: "cat" not in alice.must("exec", "box", "ps"), 15, "end of the process at the end of its input")
