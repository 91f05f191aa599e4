# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A claim goes only when dockerd and the kernel both say that nothing of its container lives, asked after nothing can start any more."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import pytest
from ds01_gate.audit import Audit
from ds01_gate.claim_keeper import ClaimKeeper
from ds01_gate.maintenance import MaintenanceGuard
from ds01_gate.recorder import Recorder
from ds01_gate.turn_keeper import TurnKeeper

from ds01.allocator import AllocationPaths, Allocator
from ds01.core.claim import Claim
from ds01.core.event_query import EventQuery
from ds01.core.gate.verdict import GrantClaim
from ds01.core.refusal import Refusal
from ds01.docker_upstream import DaemonUnavailable, DockerClient
from ds01.event_log import EventLog
from ds01.slice_control import NoSlices
from tests.allocation_examples import inventory, limits, publish, whole_gpu

ONE, TWO = "a" * 64, "b" * 64
CLAIM = {ONE: "caaaaaaaaaaaa", TWO: "cbbbbbbbbbbbb"}
RUNS, CREATED, ENDED = ({"Running": status == "running", "Status": status} for status in ("running", "created", "exited"))
PATIENCE = 20


class Daemon:
    """Answers each look at a container with the next of its states, the last one for ever; None: it knows none of that name."""

    def __init__(self) -> None:
        self.looks: dict[str, list[dict[str, Any] | None]] = {}
        self.away = False
        self.before_look: Callable[[], None] = lambda: None

    def call(self, method: str, target: str, body: object = None) -> list[dict[str, Any]]:
        listed = {one: looks[0] for one, looks in self.looks.items()}
        return [{"Id": one, "State": said["Status"], "Labels": {"ds01.claim": CLAIM[one]}} for one, said in listed.items() if said]

    def find(self, target: str) -> dict[str, Any] | None:
        self.before_look()
        if self.away:
            raise DaemonUnavailable("docker.sock: Connection refused")
        looks = self.looks[target.split("/")[2]]
        state = looks.pop(0) if len(looks) > 1 else looks[0]
        return None if state is None else {"State": state}


class Kernel:
    """``living``: claims of which a process lives; ``killed``: those that were ended here."""

    def __init__(self) -> None:
        self.alive: set[str] = set()
        self.killed: list[str] = []

    def living(self, claims: Iterable[Claim]) -> frozenset[str]:
        return frozenset(one.id for one in claims) & self.alive

    def end(self, claim: Claim) -> None:
        self.killed.append(claim.id)
        self.alive.discard(claim.id)


class House:
    """A gate over one GPU, which the first container has."""

    def __init__(self, root: Path) -> None:
        publish(root, inventory(whole_gpu(0)))
        self.now = 1000.0
        self.docker, self.kernel, self.lines = Daemon(), Kernel(), io.StringIO()
        audit = Audit(self.lines)
        self.log = EventLog(str(root / "events.jsonl"))
        self.recorder = Recorder(self.log, audit)
        paths = AllocationPaths(root / "cdi", root / "lock", root / "devices.json", root / "cdi-base.json", root / "reservations.json")
        self.turns = TurnKeeper(str(root / "queue.json"), lambda _uid: limits(), lambda: 600.0, self.recorder, audit)
        self.allocator = Allocator(paths, NoSlices(), lambda: self.now, self.turns, self.kernel)
        self.keeper = ClaimKeeper(
            self.allocator,
            cast(DockerClient, self.docker),
            audit,
            self.recorder,
            MaintenanceGuard(str(root / "maintenance.json")),
            self.turns,
            lambda: self.now,
            occupants=self.kernel,
            orphan_seconds=PATIENCE,
        )
        self.docker.looks[ONE] = [RUNS]
        self.grant = self.keeper.grant(self.wanted(ONE, 1000), limits(full_gpu=True))
        self.now += 100

    def wanted(self, container: str, uid: int) -> GrantClaim:
        return GrantClaim(CLAIM[container], uid, f"u{uid}", container, f"box-{container[0]}", "count=1")

    def is_taken(self) -> bool:
        """Whether another person's start is refused now."""
        try:
            self.keeper.grant(self.wanted(TWO, 1001), limits("other", full_gpu=True))
        except Refusal as refusal:
            return refusal.rule == "gpu.busy"
        return False

    def audited(self, kind: str) -> int:
        return sum(json.loads(line)["event"] == kind for line in self.lines.getvalue().splitlines())

    def recorded(self) -> list[str]:
        self.recorder.start()
        self.recorder.stop()
        return [event["kind"] for event in self.log.read(EventQuery())]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def _died(house: House) -> None:
    house.keeper.ended(ONE, CLAIM[ONE], house.now)


def _removed(house: House) -> None:
    house.keeper.drop(ONE, CLAIM[ONE])


def _compared(house: House) -> None:
    house.keeper.reconcile(first=False)


def _start_failed(house: House) -> None:
    house.grant.fresh = True
    house.keeper.undo(house.grant)


WAYS = pytest.mark.parametrize("end", [_died, _removed, _compared, _start_failed])


@WAYS
@pytest.mark.parametrize("state", [CREATED, ENDED, None])
def test_without_a_process_it_is_free_at_once(house: House, end: Callable[[House], None], state: dict[str, Any] | None) -> None:
    house.docker.looks[ONE] = [state]
    end(house)
    assert house.allocator.claims() == ()
    assert not house.is_taken()
    assert house.recorded().count("claim.released") == 1


@WAYS
@pytest.mark.parametrize("state", [CREATED, ENDED, None])
def test_with_one_it_stays_and_this_is_said_once(house: House, end: Callable[[House], None], state: dict[str, Any] | None) -> None:
    """dockerd was killed in the middle of a start, or lost the container: its process has the GPU all the same."""
    house.docker.looks[ONE] = [state]
    house.kernel.alive = {CLAIM[ONE]}
    end(house)
    house.keeper.reconcile(first=False)
    assert house.is_taken()
    assert house.kernel.killed == []
    assert house.audited("quarantined") == 1
    assert house.recorded().count("claim.quarantined") == 1
    assert "claim.released" not in house.recorded()


@pytest.mark.parametrize("end", [_died, _compared, _start_failed])
def test_a_start_between_the_two_looks_keeps_it(house: House, end: Callable[[House], None]) -> None:
    """The second half of a restart, asked for by a gate that was killed in between: no look may end a claim that a start has used."""
    looks: list[dict[str, Any] | None] = [ENDED, RUNS]
    house.docker.looks[ONE] = looks
    (before,) = house.allocator.claims()
    seen: list[bool] = []
    house.docker.before_look = lambda: seen.append(house.allocator.claims()[0].ending_since is not None)
    end(house)
    assert seen == [False, True], "the second look comes after the withdrawal"
    house.docker.before_look = lambda: None
    (after,) = house.allocator.claims()
    assert (after.ending_since, after.devices, after.generation) == (None, before.devices, before.generation)
    assert house.is_taken()
    assert "claim.released" not in house.recorded()


def test_what_outlives_its_container_is_ended_after_a_while_and_then_its_gpu_is_free(house: House) -> None:
    house.docker.looks[ONE] = [CREATED]
    house.kernel.alive = {CLAIM[ONE]}
    house.keeper.reconcile(first=False)
    house.now += PATIENCE - 1
    house.keeper.reconcile(first=False)
    assert house.kernel.killed == []
    house.now += 2
    house.keeper.reconcile(first=False)
    assert house.kernel.killed == [CLAIM[ONE]]
    house.keeper.reconcile(first=False)
    assert house.allocator.claims() == ()
    assert not house.is_taken()
    assert house.recorded().count("claim.released") == 1


def test_a_process_that_takes_its_time_to_end_costs_seconds_and_not_a_round_of_reconciling(house: House) -> None:
    house.docker.looks[ONE] = [ENDED]
    house.kernel.alive = {CLAIM[ONE]}
    _died(house)
    assert house.keeper.expire() == 5.0
    house.kernel.alive = set()
    assert house.keeper.expire() is None
    assert house.audited("ended") == 1
    assert not house.is_taken()


@pytest.mark.parametrize("state", [RUNS, {"Running": False, "Restarting": True}, {"Running": False, "Paused": True}])
def test_what_dockerd_found_again_is_left_in_peace(house: House, state: dict[str, Any]) -> None:
    house.docker.looks[ONE] = [CREATED]
    house.kernel.alive = {CLAIM[ONE]}
    house.keeper.reconcile(first=False)
    house.now += 10 * PATIENCE
    house.docker.looks[ONE] = [{"Status": "created", **state}]
    house.keeper.reconcile(first=False)
    assert house.kernel.killed == []
    assert house.allocator.claims()[0].ending_since is None


def test_nothing_is_ended_while_dockerd_is_away_or_the_container_is_being_started(house: House) -> None:
    house.docker.looks[ONE] = [CREATED]
    house.kernel.alive = {CLAIM[ONE]}
    _removed(house)
    house.now += 10 * PATIENCE
    house.docker.away = True
    _removed(house)
    assert house.audited("end_delayed") == 1
    house.docker.away = False
    with house.keeper.starting(ONE):
        _compared(house)
    assert house.kernel.killed == []
    assert [one.id for one in house.allocator.claims()] == [CLAIM[ONE]]


def test_only_what_runs_is_said_to_run_without_a_claim(house: House) -> None:
    """Not what waits for its grant at this moment."""
    house.docker.looks[TWO] = [CREATED]
    with house.keeper.starting(TWO):
        _compared(house)
    assert house.audited("running_without_claim") == 0
    house.docker.looks[TWO] = [RUNS]
    _compared(house)
    assert house.audited("running_without_claim") == 1


def test_a_refusal_does_not_wait_for_a_look_at_what_lives(house: House) -> None:
    """dockerd answers a look at a container only when the start of it that is under way has ended."""
    house.kernel.alive = {CLAIM[ONE]}
    house.docker.before_look = lambda: pytest.fail("dockerd was asked")
    assert house.is_taken()


def test_a_refusal_stands_when_the_look_fails(house: House) -> None:
    house.docker.away = True
    assert house.is_taken()
    assert house.audited("sweep_failed") == 1
