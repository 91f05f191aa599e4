# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""One person who crowds the gate does not hurt another, slow and endless input is given up, and memory stays bounded."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.daemons import wait_until
from tests.integration.gate.gate_process import policy
from tests.integration.gate.people import Desk, Wire

CONNECTIONS = 200
TERMINALS = 200
_LIST = b"GET /v1.45/containers/json HTTP/1.1\r\nHost: d\r\n\r\n"
_CREATE = b"POST /v1.45/containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


def _resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:")))


def _seconds(wire: Wire) -> float:
    started = time.perf_counter()
    wire.send(_LIST)
    assert wire.reply().status == 200
    return time.perf_counter() - started


def _usual(wire: Wire) -> float:
    """What a request takes: the best of three medians, because the machine has other work too."""
    return min(statistics.median(_seconds(wire) for _ in range(30)) for _ in range(3))


@pytest.fixture(autouse=True)
def policy_of_everybody(alice: Desk) -> Iterator[None]:
    """The gate is shared with other modules: what a test lets a person do here ends with it."""
    yield
    alice.gate.write_policy(policy(alice.lab))


def test_two_hundred_connections_of_one_person_do_not_slow_another(alice: Desk, bob: Desk) -> None:
    """Half of them open and quiet, half of them sending a body that never ends; the other's latency stays within a few times."""
    alice.gate.write_policy(policy(alice.lab, connections=CONNECTIONS + 8))
    wire = bob.wire()
    alone = _usual(wire)
    before = _resident_kib(alice.gate.pid)
    crowd = [alice.wire() for _ in range(CONNECTIONS)]
    for n, one in enumerate(crowd):
        one.send(_CREATE + b"100\r\n" + b" " * 256 + b"\r\n" if n % 2 else _LIST)
    for one in crowd[::2]:
        assert one.reply().status == 200
    crowded = _usual(wire)
    grown = _resident_kib(alice.gate.pid) - before
    for one in (*crowd, wire):
        one.close()
    assert crowded < 5 * alone + 0.02, f"{crowded * 1000:.2f} ms beside 200 connections, {alone * 1000:.2f} ms without"
    assert grown < 80 * 1024, f"{grown} KiB for {CONNECTIONS} connections"


def test_endless_bodies_are_ended_and_their_memory_is_given_back(alice: Desk, bob: Desk) -> None:
    """Ten at once that would never end: each is cut off, at most 1 MiB of each is ever held."""
    before = _resident_kib(alice.gate.pid)
    with ThreadPoolExecutor(10) as pool:
        endings = [pool.submit(_send_for_ever, alice) for _ in range(10)]
        assert bob.ask("GET", "/v1.45/containers/json").json == []
    assert all(ending.result() for ending in endings), "a body was read on and on"
    wait_until(lambda: _resident_kib(alice.gate.pid) - before < 32 * 1024, 20, "the memory to be given back")


def _send_for_ever(desk: Desk) -> bool:
    """Whether the gate ended it."""
    piece = b"40000\r\n" + b" " * 0x40000 + b"\r\n"
    wire = desk.wire()
    deadline = time.monotonic() + 20
    try:
        wire.send(_CREATE)
        while time.monotonic() < deadline:
            wire.send(piece)
    except OSError:
        return True
    finally:
        wire.close()
    return False


def test_a_drip_of_heads_holds_no_connection(alice: Desk, bob: Desk) -> None:
    """A byte now and then does not reset the clock of a head: it has its seconds in all (``head_seconds`` is 2 here)."""
    crowd = [alice.wire() for _ in range(50)]
    for one in crowd:
        one.send(b"GET /_ping HTTP/1.1\r\n")
    started = time.monotonic()
    while crowd and time.monotonic() - started < 15:
        for one in list(crowd):
            try:
                one.send(b"X-Drip: 1\r\n")
            except OSError:
                crowd.remove(one)
                one.close()
        assert bob.ask("GET", "/_ping").status == 200
    assert crowd == [], f"{len(crowd)} connections are still open after {time.monotonic() - started:.0f} s"


def _unshared_kib(pid: int) -> int:
    """A process's share of the memory: what it shares with others counts in parts."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Pss:")))


def test_two_hundred_terminals_cost_less_than_eighty_megabytes(alice: Desk) -> None:
    """Gate and splice program together, with all of them open."""
    alice.gate.write_policy(policy(alice.lab, connections=TERMINALS + 50))
    alice.must("run", "-d", "-i", "--name", "talk", "busybox", "cat")
    wires = []
    for _ in range(TERMINALS):
        wire = alice.wire()
        upgrade = b"HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
        wire.send(b"POST /v1.45/containers/talk/attach?stream=1&stdin=1&stdout=1 " + upgrade)
        assert wire.head()[0] == 101
        wires.append(wire)
    wires[0].send(b"heard by all\n")
    for wire in wires:
        assert wire.read(8 + 13)[8:] == b"heard by all\n"
    used = sum(_unshared_kib(pid) for pid in (alice.gate.pid, alice.gate.splice_pid))
    for wire in wires:
        wire.close()
    assert used < 80 * 1024, f"{used} KiB for {TERMINALS} terminals"
    sys.stdout.write(f"{TERMINALS} terminals: {used} KiB in the gate and the splice program together\n")
