# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The queue in front of a real daemon: a start that waits, an offer that nobody else gets, and what a killed gate leaves."""

from __future__ import annotations

import json

from tests.integration.daemons import wait_until
from tests.integration.gate.people import Desk
from tests.integration.gate.test_claims import SLEEP, claims

QUEUE = "/ds01/v1/queue"
FULL = tuple(f"full{n}" for n in range(4))


def fill(desk: Desk) -> None:
    """All eight GPUs, two in each container."""
    for name in FULL:
        desk.must("run", "-d", "--gpus", "2", "--name", name, *SLEEP)


def entries(desk: Desk) -> list[dict]:
    return list(desk.ask("GET", QUEUE).json["entries"])


def test_a_start_waits_for_its_turn(alice: Desk, bob: Desk) -> None:
    fill(bob)
    client = alice.start("run", "-d", "--gpus", "1", "--label", "ds01.gpu.wait=5m", "--name", "patient", *SLEEP)
    wait_until(lambda: len(entries(alice)) == 1, 15, "the start's entry")
    assert entries(bob) == []
    assert alice.must("ps", "-q") == "", "the person's other requests go on meanwhile"
    bob.must("rm", "-f", FULL[0])
    client.communicate(timeout=60)
    assert client.returncode == 0
    assert entries(alice) == []
    assert alice.must("inspect", "-f", "{{.State.Running}}", "patient") == "true"
    kinds = [json.loads(line)["kind"] for line in (alice.gate.state / "events.jsonl").read_text().splitlines()]
    assert {"claim.granted", "queue.joined", "queue.offered", "queue.left"} <= set(kinds)


def test_a_client_that_goes_away_does_not_wait(alice: Desk, bob: Desk) -> None:
    fill(bob)
    client = alice.start("run", "--gpus", "1", "--label", "ds01.gpu.wait=5m", *SLEEP)
    wait_until(lambda: len(entries(alice)) == 1, 15, "the start's entry")
    client.kill()
    client.communicate(timeout=30)
    wait_until(lambda: entries(alice) == [], 15, "the end of the entry")


def test_an_offer_is_nobody_elses_and_outlives_a_killed_gate(alice: Desk, bob: Desk, boss: Desk) -> None:
    fill(bob)
    refused = alice.docker("run", "--rm", "--gpus", "1", "busybox", "true")
    assert refused.returncode == 125
    assert "ds01 queue join" in refused.stderr
    joined = alice.ask("POST", QUEUE, {"request": "2"})
    assert (joined.status, joined.json["position"]) == (200, 1)
    bob.must("rm", "-f", FULL[0])
    wait_until(lambda: entries(alice)[0]["position"] == 0, 15, "the offer")
    alice.gate.kill()
    alice.gate.start()
    assert entries(alice)[0]["offer"] is not None
    assert boss.docker("run", "--rm", "--gpus", "1", "busybox", "true").returncode == 125
    alice.must("run", "-d", "--gpus", "2", *SLEEP)
    assert entries(alice) == []
    assert len(claims(alice.gate)) == 4
