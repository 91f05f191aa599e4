# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""An allocator with a queue on real files, people, and a time of its own."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from ds01_gate.audit import Audit
from ds01_gate.recorder import Recorder
from ds01_gate.turn_keeper import TurnKeeper
from ds01_gate.turn_wait import TurnWait

from ds01.allocator import AllocationPaths, Allocator
from ds01.core.claim import Claim
from ds01.core.devices import Inventory
from ds01.core.event_query import EventQuery
from ds01.core.gpu_request import GpuRequest
from ds01.core.limits import Limits
from ds01.core.refusal import Refusal
from ds01.event_log import EventLog
from ds01.slice_control import NoSlices
from tests.allocation_examples import inventory, publish, whole_gpu
from tests.unit.core.queue_worlds import person

ONE = GpuRequest()


class TurnBench:
    """``start`` and ``end`` are what containers do; uid and container number make the claim's id."""

    def __init__(self, root: Path, gpus: int = 1) -> None:
        self.root = root
        self.stock: Inventory = inventory(*(whole_gpu(index) for index in range(gpus)))
        publish(root, self.stock)
        self.now = 1000.0
        self.hold = 600.0
        self.unknown: set[int] = set()
        self.priorities: dict[int, int] = {}
        self.log = EventLog(str(root / "events.jsonl"))
        self.audit_lines = io.StringIO()
        self.queue_path = str(root / "queue.json")
        self.open()

    def open(self) -> None:
        """Begin as a gate that was started does."""
        audit = Audit(self.audit_lines)
        self.recorder = Recorder(self.log, audit, lambda: self.now)
        self.turns = TurnKeeper(self.queue_path, self.limits_of, lambda: self.hold, self.recorder, audit, lambda: self.now)
        paths = AllocationPaths(
            self.root / "cdi", self.root / "lock", self.root / "devices.json", self.root / "cdi-base.json", self.root / "reservations.json"
        )
        self.allocator = Allocator(paths, NoSlices(), lambda: self.now, self.turns)
        self.waiting = TurnWait(self.turns, self.allocator)
        self.turns.refresh()

    def limits_of(self, uid: int) -> Limits:
        if uid in self.unknown:
            raise Refusal("w", "not known", "n", rule="owner-unknown")
        return replace(person(uid), priority=self.priorities.get(uid, 0))

    def start(self, uid: int, number: int = 0, request: GpuRequest = ONE) -> Claim:
        identity = f"{uid:06x}{number:06x}"
        return self.allocator.grant(f"c{identity}", self.limits_of(uid), uid, request, identity * 5, f"box{number}")

    def end(self, claim: Claim, hold: int = 0) -> None:
        self.allocator.release(claim.id, hold)

    def join(self, uid: int, request: str = "count=1", container_id: str | None = None) -> str:
        waiter = self.turns.join(self.limits_of(uid), uid, request, container_id)
        self.allocator.arrange()
        return waiter.id

    def positions(self) -> dict[int, int]:
        return {place.waiter.uid: place.position for place in self.turns.places(self.allocator.moment())}

    def events(self) -> list[dict[str, Any]]:
        self.recorder.start()
        self.recorder.stop()
        return list(self.log.read(EventQuery()))
