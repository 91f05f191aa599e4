# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The inventory and its events: everything once, nothing that was not, and no exits while a source is silent."""

from __future__ import annotations

import json
from fractions import Fraction

from ds01.core.claim import Claim, ClaimedDevice
from ds01.core.devices import Gpu, Inventory
from ds01.core.workload_changes import Seen, changes
from ds01.core.workload_document import Workload, document, workloads
from ds01.core.workload_facts import ContainerFacts, People, ProcessFacts

ID = "ab" * 32
OTHER = "cd" * 32
GPUS = Inventory((Gpu("GPU-0", 0, 0, "A100", 40960, False, 7), Gpu("GPU-1", 1, 1, "A100", 40960, True, 7)), "580-sim", True, 5.0)
BOTH = frozenset({"GPU-0", "GPU-1"})
PEOPLE = People({1001: "alice", 1002: "bob"}, {"alice": "/home/alice"})
MANAGED = ContainerFacts(
    "docker", ID, "train", labels={"ds01.uid": "1001"}, cgroup_path=f"/ds01.slice/ds01-u1001.slice/ds01-u1001-c1.slice/docker-{ID}.scope"
)
PRIVILEGED = ContainerFacts("docker", OTHER, "rogue", cgroup_path=f"/system.slice/docker-{OTHER}.scope", every_gpu=True, privileged=True)
IDLE = ContainerFacts("docker", "ef" * 32, "cpu-only")
CLAIM = Claim(
    "c000000000001", 1001, "alice", ID, "train", "all", (ClaimedDevice("k", "GPU-1", 1, Fraction(3, 7), 20000, "3g.20gb"),), 1.0, "g"
)


def process(pid: int, cgroup: str, uid: int = 1002, login: int | None = 1002, memory: int | None = 100) -> ProcessFacts:
    return ProcessFacts(pid, 7, uid, login, cgroup, f"python {pid}", "/usr/bin/python3", "GPU-0", None, memory)


HOST = process(42, "/user.slice/user-1002.slice/session-1.scope")


def paint(*processes: ProcessFacts, containers: tuple[ContainerFacts, ...] = (MANAGED, PRIVILEGED, IDLE)) -> tuple[Workload, ...]:
    return workloads(GPUS, containers, processes, [CLAIM], PEOPLE)


def test_every_way_to_a_gpu_is_in_the_document() -> None:
    found = document(paint(HOST, process(43, MANAGED.cgroup_path)), GPUS, 9.0, {"gpu": {"ok": True}})
    lines = [(w["kind"], w["name"], w["user"], w["tracked"], [g["index"] for g in w["gpus"]], w["gpu_memory"]) for w in found["workloads"]]
    assert lines == [
        ("managed", "train", "alice", True, [1], 100),
        ("raw", "rogue", None, False, [0, 1], 0),
        ("host", "python 42", "bob", False, [0], 100),
    ]
    assert found["workloads"][0]["gpus"][0]["profile"] == "3g.20gb"
    assert found["simulated"] is True
    json.dumps(found)


def test_memory_that_is_not_known_is_not_zero() -> None:
    (one,) = paint(process(42, "/user.slice/user-1002.slice/s", memory=None), containers=())
    assert one.memory is None


def test_a_container_around_the_gate_is_said_once() -> None:
    events, seen = changes(Seen(), paint(), 1.0, answered=BOTH)
    assert [(e.kind, e.container) for e in events] == [("workload.seen", "rogue")]
    assert changes(seen, paint(), 2.0, answered=BOTH)[0] == []
    gone, seen = changes(seen, paint(containers=(MANAGED,)), 3.0, answered=BOTH)
    assert gone == []
    assert [e.kind for e in changes(seen, paint(), 4.0, answered=BOTH)[0]] == ["workload.seen"]


def test_a_process_is_reported_after_two_looks_and_gone_after_two() -> None:
    seen = Seen()
    said = []
    for look in (True, False, True, True, False, True, False, False, False):
        events, seen = changes(seen, paint(*([HOST] if look else []), containers=()), 1.0, answered=BOTH)
        said.append([e.kind.rpartition(".")[2] for e in events])
    assert said == [[], [], [], ["seen"], [], [], [], ["gone"], []]


def test_silence_of_nvml_ends_nothing() -> None:
    seen = Seen()
    for _ in range(2):
        _, seen = changes(seen, paint(HOST, containers=()), 1.0, answered=BOTH)
    for _ in range(5):
        events, seen = changes(seen, (), 1.0, answered=frozenset())
        assert events == []
    assert changes(seen, paint(HOST, containers=()), 1.0, answered=BOTH)[0] == []


def test_a_pid_that_is_used_again_is_another_process() -> None:
    import dataclasses

    seen = Seen()
    for _ in range(2):
        _, seen = changes(seen, paint(HOST, containers=()), 1.0, answered=BOTH)
    again = dataclasses.replace(HOST, start_ticks=8)
    kinds = []
    for _ in range(2):
        events, seen = changes(seen, paint(again, containers=()), 1.0, answered=BOTH)
        kinds += [e.kind for e in events]
    assert sorted(kinds) == ["host_process.gone", "host_process.seen"]
