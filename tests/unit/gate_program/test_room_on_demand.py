# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A start for which nothing is free has a GPU re-partitioned where one may be, and gets what was made; nobody else's turn is taken."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from ds01_gate.audit import Audit
from ds01_gate.claim_keeper import ClaimKeeper
from ds01_gate.maintenance import MaintenanceGuard
from ds01_gate.recorder import Recorder
from ds01_gate.turn_keeper import TurnKeeper

from ds01.allocator import AllocationPaths, Allocator
from ds01.core.devices import Potential
from ds01.core.event_query import EventQuery
from ds01.core.gate.verdict import GrantClaim
from ds01.core.refusal import Refusal
from ds01.core.request_text import parse_request_text
from ds01.event_log import EventLog
from ds01.mig_remaker import Remaker
from ds01.slice_control import NoSlices
from tests.allocation_examples import inventory, limits, mig_gpu, publish

TWO = Potential(14, "2g.10gb", 2, 9856)
BEFORE = inventory(mig_gpu(0, [("3g.20gb", 4), ("1g.5gb", 0)], dynamic=(TWO,)))
AFTER = inventory(mig_gpu(0, [("2g.10gb", 4), ("1g.5gb", 0)], dynamic=(TWO,)))


class NoDocker:
    def find(self, _path: str) -> None:
        return None


class Host:
    def __init__(self, root: Path) -> None:
        self.root = root
        publish(root, BEFORE)
        self.asked: list[list[str]] = []
        self.can = True
        self.log = EventLog(str(root / "events.jsonl"))
        self.recorder = Recorder(self.log, Audit(io.StringIO()))
        self.turns = TurnKeeper(
            str(root / "queue.json"), lambda _uid: limits(equivalents=None), lambda: 600.0, self.recorder, Audit(io.StringIO())
        )
        paths = AllocationPaths(
            root / "cdi", root / "claims.lock", root / "devices.json", root / "cdi-base.json", root / "reservations.json"
        )
        self.allocator = Allocator(paths, NoSlices(), turns=self.turns)
        self.keeper = ClaimKeeper(
            self.allocator,
            NoDocker(),  # type: ignore[arg-type]
            Audit(io.StringIO()),
            self.recorder,
            MaintenanceGuard("/nonexistent/maintenance.json"),
            self.turns,
            remaker=Remaker("ds01-mig", self.program),
        )

    def program(self, command: Sequence[str]) -> tuple[int, str]:
        self.asked.append(list(command))
        if not self.can:
            return 3, "no room"
        publish(self.root, replace(AFTER, read_at=time.time()))
        return 0, ""

    def start(self, number: int, request: str) -> str | None:
        wanted = GrantClaim(f"c{number:012x}", number, f"u{number}", f"{number:064x}", f"n{number}", parse_request_text(request).text())
        return self.keeper.grant(wanted, limits(user=f"u{number}", equivalents=None)).claim.devices[0].profile


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_what_is_missing_is_made_and_granted_and_stands_in_the_log(host: Host) -> None:
    assert host.start(1, "2g") == "2g.10gb"
    assert [call[-1].split("/")[1] for call in host.asked] == ["2g.10gb"]
    host.recorder.start()
    host.recorder.stop()
    kinds = [event["kind"] for event in host.log.read(EventQuery())]
    assert kinds == ["mig.changed", "claim.granted"]


def test_what_is_free_is_granted_without_asking(host: Host) -> None:
    assert host.start(1, "1g") == "1g.5gb" and host.asked == []


def test_a_no_stays_a_refusal_and_is_not_asked_for_again_at_once(host: Host) -> None:
    host.can = False
    for _ in range(3):
        with pytest.raises(Refusal, match="no GPU is free"):
            host.start(1, "2g")
    assert len(host.asked) == 1


def test_a_refusal_for_another_reason_re_partitions_nothing(host: Host) -> None:
    wanted = GrantClaim("c000000000009", 9, "u9", "9" * 64, "n9", parse_request_text("2g").text())
    with pytest.raises(Refusal):
        host.keeper.grant(wanted, limits(user="u9", profiles=("1g",)))
    assert host.asked == []


def test_who_waits_for_it_goes_first_and_what_is_kept_for_them_is_kept(host: Host) -> None:
    waiter = host.turns.join(limits(user="first", equivalents=None), 5, parse_request_text("3g").text(), None)
    host.allocator.arrange()
    assert host.turns.kept_for_waiters(), "the free 3g is offered to who waits"
    host.can = False
    with pytest.raises(Refusal):
        host.start(1, "2g")
    [kept] = [d.key for c in host.turns.kept_for_waiters() for d in c.devices]
    assert host.asked[0][2:4] == ["--keep", kept] and waiter.uid == 5
