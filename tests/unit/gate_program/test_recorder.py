# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The gate's events: what is written, and that a log which can't be written stops nobody."""

from __future__ import annotations

import fcntl
import io
import json
import os

import pytest
from ds01_gate.audit import REFUSALS_AT_ONCE, Audit
from ds01_gate.claim_keeper import ClaimKeeper
from ds01_gate.maintenance import MaintenanceGuard
from ds01_gate.recorder import Recorder
from ds01_gate.turn_keeper import TurnKeeper

from ds01.core.claim import Claim
from ds01.core.event_query import EventQuery
from ds01.core.gate.verdict import GrantClaim
from ds01.core.gpu_request import GpuRequest
from ds01.core.offers import offers
from ds01.core.refusal import Refusal
from ds01.event_log import EventLog
from tests.allocation_examples import claim, inventory, limits, whole_gpu

STOCK = inventory(whole_gpu(0))


def held() -> Claim:
    return claim(1, (offers(STOCK)[0].device,), uid=1001, hold=60)


class ScriptedAllocator:
    """An allocator that grants what it is told, or refuses."""

    def __init__(self, granted: Claim | None = None, refusal: Refusal | None = None) -> None:
        self.granted = granted
        self.refusal = refusal
        self.released: list[int | None] = []

    def grant(self, *_: object) -> Claim:
        if self.refusal is not None:
            raise self.refusal
        assert self.granted is not None
        return self.granted

    def claims(self) -> tuple[Claim, ...]:
        return () if self.granted is None else (self.granted,)

    def release(self, _claim: str, hold: int | None = None) -> Claim | None:
        self.released.append(hold)
        return self.granted

    def withdraw(self, _claim: str) -> Claim | None:
        return self.granted

    def finish(self, _claim: str) -> bool:
        self.released.append(0)
        return True

    def expire(self) -> list[Claim]:
        return [] if self.granted is None else [self.granted]


class ScriptedDocker:
    """A daemon whose container is in one state."""

    def __init__(self, state: dict[str, object] | None) -> None:
        self.state = state

    def find(self, _path: str) -> dict[str, object] | None:
        return None if self.state is None else {"State": self.state}


@pytest.fixture
def log(tmp_path) -> EventLog:
    return EventLog(str(tmp_path / "events.jsonl"))


def written(log: EventLog, recorder: Recorder) -> list[dict]:
    recorder.start()
    recorder.stop()
    return list(log.read(EventQuery())) if os.path.exists(log.path) else []


def keeper(allocator: ScriptedAllocator, recorder: Recorder, state: dict[str, object] | None = None) -> ClaimKeeper:
    open_house = MaintenanceGuard("/nonexistent/maintenance.json")
    turns = TurnKeeper("/nonexistent/queue.json", lambda _uid: limits(), lambda: 600.0, recorder, Audit(io.StringIO()))
    return ClaimKeeper(allocator, ScriptedDocker(state), Audit(io.StringIO()), recorder, open_house, turns, lambda: 5000.0)  # type: ignore[arg-type]


WANTED = GrantClaim(held().id, 1001, "u1001", held().container_id, "box1", GpuRequest().text())


def test_the_life_of_a_claim(log) -> None:
    recorder = Recorder(log, Audit(io.StringIO()), lambda: 5000.0)
    one = keeper(ScriptedAllocator(held()), recorder, {"Running": False})
    one.grant(WANTED, limits())
    one.ended(held().container_id, held().id, 4000.0)
    one.expire()
    one.drop(held().container_id, held().id)
    found = written(log, recorder)
    assert [event["kind"] for event in found] == ["claim.granted", "claim.held", "claim.released", "claim.released"]
    assert {(e["user"], e["uid"], e["container"], tuple(e["gpus"]), e["by"]) for e in found} == {
        ("u1001", 1001, "box1", (STOCK.gpus[0].uuid,), "ds01-gate")
    }
    assert found[1]["details"]["until"] == 5060.0
    assert [event["details"]["why"] for event in found[2:]] == ["its hold is over", "the container was removed"]


def test_the_end_of_a_container_that_only_carries_the_label_ends_no_claim(log) -> None:
    """A Dockerfile can write LABEL ds01.claim=… of another person: the classic builder's containers then have it, and end."""
    recorder = Recorder(log, Audit(io.StringIO()), lambda: 5000.0)
    allocator = ScriptedAllocator(held())
    one = keeper(allocator, recorder, {"Running": False})
    one.ended("f" * 64, held().id, 4000.0)
    one.drop("f" * 64, held().id)
    assert written(log, recorder) == []
    assert allocator.released == []


def test_a_start_that_failed_gives_back_at_once_what_it_made(log) -> None:
    recorder = Recorder(log, Audit(io.StringIO()))
    allocator = ScriptedAllocator(held())
    one = keeper(allocator, recorder, {"Running": False})
    grant = one.grant(WANTED, limits())
    grant.fresh = True
    one.undo(grant)
    assert allocator.released == [0]
    assert written(log, recorder)[-1]["kind"] == "claim.released"


def test_refusals_carry_rule_and_reasons_and_a_loop_does_not_fill_the_log(log) -> None:
    recorder = Recorder(log, Audit(io.StringIO()))
    one = keeper(ScriptedAllocator(refusal=Refusal("w", "nothing is free", "n", rule="gpu.busy", status=409)), recorder)
    for _ in range(500):
        with pytest.raises(Refusal):
            one.grant(WANTED, limits())
    found = written(log, recorder)
    assert REFUSALS_AT_ONCE <= len(found) < REFUSALS_AT_ONCE + 40
    assert {event["kind"] for event in found} == {"claim.refused"}
    assert found[0]["details"] == {"request": "count=1", "rule": "gpu.busy", "why": "nothing is free"}


def test_a_log_that_cannot_be_written_is_noted_once_and_counted(tmp_path) -> None:
    lines = io.StringIO()
    recorder = Recorder(EventLog(str(tmp_path / "absent" / "events.jsonl")), Audit(lines))
    for _ in range(5):
        recorder.claim("claim.granted", held())
    recorder.start()
    recorder.stop()
    assert recorder.lost == 5
    noted = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [line["event"] for line in noted] == ["event_log_failed"]
    assert "absent" in noted[0]["why"]


def test_a_log_that_somebody_keeps_locked_stops_no_request(log) -> None:
    recorder = Recorder(log, Audit(io.StringIO()), most_waiting=200)
    recorder.start()
    with open(log.path + ".lock", "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for _ in range(1000):
            recorder.record("gate.denied", uid=1, details={"rule": "x"})
        assert recorder.lost >= 1000 - 201
    recorder.stop(10.0)
    assert len(list(log.read(EventQuery()))) + recorder.lost == 1000


def test_a_kind_that_is_none_is_lost_and_not_raised(log) -> None:
    recorder = Recorder(log, Audit(io.StringIO()))
    recorder.record("no.such")
    recorder.record("policy.changed")
    assert [event["kind"] for event in written(log, recorder)] == ["policy.changed"]
    assert recorder.lost == 1
