# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Before a claim is taken from a container that the list says does not run, the container itself is asked."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import pytest
from ds01_gate.audit import Audit
from ds01_gate.claim_keeper import ClaimKeeper
from ds01_gate.maintenance import MaintenanceGuard
from ds01_gate.recorder import Recorder
from ds01_gate.turn_keeper import TurnKeeper

from ds01.allocator import Allocator
from ds01.core.claim_reconcile import ContainerState, ReconcilePlan
from ds01.docker_upstream import DockerClient
from ds01.event_log import EventLog

ENDED = "2026-01-01T00:00:00.5Z"


class Daemon:
    """Lists one container as not running; what a look at it shows comes later."""

    def __init__(self, state: dict[str, Any] | None) -> None:
        self._state = state

    def call(self, method: str, target: str) -> list[dict[str, Any]]:
        return [{"Id": "a" * 64, "State": "created", "Labels": {"ds01.claim": "c1"}}]

    def find(self, target: str) -> dict[str, Any] | None:
        return None if self._state is None else {"State": self._state}


class OneClaim:
    """An allocator whose only claim belongs to that container; remembers the states that it was given."""

    def __init__(self) -> None:
        self.states: list[ContainerState] = []

    def claims(self) -> list[Any]:
        return [type("Held", (), {"id": "c1", "container_id": "a" * 64, "held_until": None})]

    def reconcile(self, states: list[ContainerState], listed_at: float) -> ReconcilePlan:
        self.states = list(states)
        return ReconcilePlan()


@pytest.mark.parametrize(
    ("state", "alive", "finished_at"),
    [
        ({"Running": True, "FinishedAt": "0001-01-01T00:00:00Z"}, True, None),
        ({"Running": False, "FinishedAt": ENDED}, False, 1767225600.5),
        (None, False, None),
    ],
)
def test_a_start_that_was_under_way_keeps_its_claim(
    tmp_path: Path, state: dict[str, Any] | None, alive: bool, finished_at: float | None
) -> None:
    allocator, audit = OneClaim(), Audit(io.StringIO())
    keeper = ClaimKeeper(
        cast(Allocator, allocator),
        cast(DockerClient, Daemon(state)),
        audit,
        Recorder(EventLog(str(tmp_path / "events.jsonl")), audit),
        MaintenanceGuard(str(tmp_path / "maintenance.json")),
        cast(TurnKeeper, None),
    )
    keeper.reconcile(first=False)
    assert allocator.states == [ContainerState("a" * 64, alive, "c1", finished_at)]
