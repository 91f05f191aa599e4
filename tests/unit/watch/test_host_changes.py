# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""MIG layouts, XIDs, reservations and grants: each change said once, nothing at a first look, nothing that only half happened."""

from __future__ import annotations

import dataclasses

from ds01.core.bare_metal import Grant
from ds01.core.devices import Gpu, Inventory, MigInstance
from ds01.core.layout_changes import Layouts, layout_changes, xid_changes
from ds01.core.permit_changes import in_force, permit_changes
from ds01.core.reservation import Reservation

GPU = Gpu("GPU-0", 0, 0, "A100", 40960, True, 7)
ANSWERED = frozenset({"GPU-0"})


def instance(start: int, profile: str = "3g.20gb") -> MigInstance:
    return MigInstance("GPU-0", start, 0, 9, profile, start, 4, 3, 20480, f"MIG-{start}", 1, 2)


def host(*instances: MigInstance, mig: bool = True) -> Inventory:
    return Inventory((dataclasses.replace(GPU, instances=instances, mig_enabled=mig),), "580", True, 1.0)


def test_a_new_layout_is_said_once_it_stands() -> None:
    layouts, said = Layouts(), []
    for look in (
        host(),
        host(),
        host(instance(0)),
        host(instance(0), instance(4)),
        host(instance(0), instance(4)),
        host(mig=False),
        host(mig=False),
    ):
        events, layouts = layout_changes(layouts, look, ANSWERED, 1.0)
        said.append([event.details["actions"] for event in events])
    assert said == [[], [], [], [], [["made 3g.20gb@0", "made 3g.20gb@4"]], [], [["MIG off", "removed 3g.20gb@0", "removed 3g.20gb@4"]]]


def test_a_gpu_that_does_not_answer_has_not_changed() -> None:
    _, layouts = layout_changes(Layouts(), host(instance(0)), ANSWERED, 1.0)
    for _ in range(3):
        events, layouts = layout_changes(layouts, host(mig=False), frozenset(), 1.0)
        assert events == []


def test_xids_are_said_as_they_come_also_after_the_counter_began_anew() -> None:
    assert xid_changes({}, {"GPU-0": {}}, 1.0) == []
    assert [e.details for e in xid_changes({}, {"GPU-0": {"79": 1}}, 1.0)] == [{"xid": "79", "count": 1}]
    assert [e.details["count"] for e in xid_changes({"GPU-0": {"79": 1}}, {"GPU-0": {"79": 3}}, 1.0)] == [2]
    assert [e.details["count"] for e in xid_changes({"GPU-0": {"79": 3}}, {"GPU-0": {"79": 1}}, 1.0)] == [1]
    assert xid_changes({"GPU-0": {"79": 3}}, {}, 1.0) == []


def test_what_an_administrator_gives_and_takes() -> None:
    reserved = Reservation("r1", frozenset({"GPU-0"}), frozenset({"alice"}), frozenset(), 10.0, 100.0, "paper")
    grant = Grant(1001, "alice", 50.0, "profiling", "root", 5.0)
    nothing, both = in_force((), (), 20.0), in_force((reserved,), (grant,), 20.0)
    assert permit_changes(None, both, 20.0) == []
    assert permit_changes(both, both, 20.0) == []
    assert [(e.kind, e.user) for e in permit_changes(nothing, both, 20.0)] == [("reservation.made", None), ("grant.made", "alice")]
    over = permit_changes(both, in_force((reserved,), (grant,), 50.0), 50.0)
    assert [(e.kind, e.details["why"]) for e in over] == [("grant.ended", "its time is over")]
    taken = permit_changes(both, nothing, 30.0)
    assert [(e.kind, e.details["why"]) for e in taken] == [("reservation.ended", "taken back"), ("grant.ended", "taken back")]
    longer = in_force((reserved,), (dataclasses.replace(grant, until=None),), 20.0)
    assert [(e.kind, e.details["until"]) for e in permit_changes(both, longer, 20.0)] == [("grant.made", None)]
    for_ever = in_force((dataclasses.replace(reserved, end=1e18),), (), 20.0)
    assert permit_changes(nothing, for_ever, 20.0)[0].details["until"] == "1e+18"
