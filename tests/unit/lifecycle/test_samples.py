# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a sample is made of: cgroups and /proc as the kernel shows them, the watcher's word on GPUs, dockerd's list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ds01_watch.busy import SPAN_S, Busy

from ds01.container_samples import container_cgroups, life
from ds01.core.lifecycle_subject import Subject, subject
from ds01.core.workload_document import gpu_entries
from ds01.core.workload_facts import ContainerFacts, People
from ds01.gpu_use import NO_GPU, NOT_KNOWN, GpuUse, gpu_uses, read_gpu_uses
from ds01.listed_containers import list_containers

ID, OTHER = "ab" * 32, "cd" * 32
PEOPLE = People({1000: "alice", 1001: "bob"}, {"alice": "/home/alice", "bob": "/home/bob"})


def make(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def process(root: Path, pid: int, start: int, net: str = "a\nb\n") -> None:
    make(root / str(pid) / "stat", f"{pid} (x) y) S {'0 ' * 18}{start} 0\n")
    make(root / str(pid) / "net/dev", net)


def test_containers_are_found_in_slices_and_not_in_services(tmp_path: Path) -> None:
    for path in (
        f"ds01.slice/ds01-u1000.slice/ds01-u1000-c0123456789ab.slice/docker-{ID}.scope/init.scope",
        f"system.slice/docker-{OTHER}.scope",
        f"system.slice/evil.service/docker-{'ef' * 32}.scope",
        "user.slice/user-1000.slice/session-1.scope",
    ):
        (tmp_path / path).mkdir(parents=True)
    assert container_cgroups(tmp_path) == {
        ID: f"/ds01.slice/ds01-u1000.slice/ds01-u1000-c0123456789ab.slice/docker-{ID}.scope",
        OTHER: f"/system.slice/docker-{OTHER}.scope",
    }
    assert container_cgroups(tmp_path / "nothing") == {}


def test_a_life_is_read_from_the_oldest_process(tmp_path: Path) -> None:
    scope, proc = tmp_path / "cg/a.scope", tmp_path / "proc"
    make(scope / "cgroup.procs", "30\n20\n10\n")
    make(scope / "cpu.stat", "usage_usec 2500000\nuser_usec 3\n")
    process(proc, 30, 900)
    process(proc, 20, 300, "Inter\n face\n    lo: 77 1\n  eth0: 100 1 0\n  eth1:5 1\nbroken\n")
    found = life("/a.scope", tmp_path / "cg", str(proc))
    assert found is not None
    assert (found.pid, found.cpu_seconds, found.network_bytes) == (20, 2.5, 105)
    assert found.run == str(scope.stat().st_ino)


def test_an_init_system_in_a_container_moves_everything_below(tmp_path: Path) -> None:
    make(tmp_path / "cg/a.scope/cgroup.procs", "")
    make(tmp_path / "cg/a.scope/init.scope/cgroup.procs", "7\n")
    process(tmp_path / "proc", 7, 100)
    found = life("/a.scope", tmp_path / "cg", str(tmp_path / "proc"))
    assert found is not None and found.pid == 7 and found.cpu_seconds is None


def test_what_has_ended_meanwhile_is_not_known(tmp_path: Path) -> None:
    assert life("/a.scope", tmp_path) is None
    make(tmp_path / "a.scope/cgroup.procs", "99\n")
    found = life("/a.scope", tmp_path, str(tmp_path / "proc"))
    assert found is not None and (found.pid, found.started, found.network_bytes) == (None, None, None)


def document(**changes: Any) -> dict[str, Any]:
    base = {
        "uptime": 1000.0,
        "sources": {"gpu": {"age_s": 3.0, "ok": True}, "docker": {"ok": True}},
        "gpus": [
            {"uuid": "GPU-0", "answers": True, "busy_percent": 3.0},
            {"uuid": "GPU-1", "answers": True, "busy_percent": 60.0},
            {"uuid": "GPU-2", "answers": True, "busy_percent": None},
            {"uuid": "GPU-3", "answers": False, "busy_percent": None},
        ],
        "workloads": [],
    }
    return {**base, **changes}


@pytest.mark.parametrize(
    ("uuids", "processes", "expected"),
    [
        (["GPU-0"], 1, GpuUse(3.0, 1)),
        (["GPU-0", "GPU-1"], 2, GpuUse(60.0, 2)),
        (["GPU-2"], 1, GpuUse(None, 1)),
        (["GPU-2"], 0, GpuUse(None, 0)),
        (["GPU-0", "GPU-3"], 0, NOT_KNOWN),
        (["GPU-9"], 0, NOT_KNOWN),
    ],
)
def test_gpu_use_of_a_container(uuids: list[str], processes: int, expected: GpuUse) -> None:
    work = {"container_id": ID, "gpus": [{"uuid": uuid} for uuid in uuids], "processes": [{}] * processes}
    uses = gpu_uses(document(workloads=[work, {"container_id": None, "gpus": [], "processes": [{}]}]), 1005.0)
    assert uses.known
    assert uses.of(ID) == expected
    assert uses.of(OTHER) == NO_GPU


@pytest.mark.parametrize(
    ("changes", "uptime", "why"),
    [
        ({}, 1061.0, "61 s old"),
        ({}, 990.0, "-10 s old"),
        ({"sources": {"gpu": {"age_s": 61.0, "ok": True}, "docker": {"ok": True}}}, 1000.0, "NVML"),
        ({"sources": {"gpu": {"age_s": None, "ok": False}, "docker": {"ok": True}}}, 1000.0, "NVML"),
        ({"sources": {"gpu": {"age_s": 1.0, "ok": True}, "docker": {"ok": False}}}, 1000.0, "dockerd"),
        ({"gpus": None}, 1000.0, "another shape"),
        ({"uptime": None}, 1000.0, "another shape"),
    ],
)
def test_old_silent_or_strange_news_is_no_news(changes: dict[str, Any], uptime: float, why: str) -> None:
    uses = gpu_uses(document(**changes), uptime)
    assert not uses.known and why in uses.why
    assert uses.of(ID) == NOT_KNOWN


def test_an_inventory_that_cannot_be_read_raises_nothing(tmp_path: Path) -> None:
    assert "is not there" in read_gpu_uses(0.0, str(tmp_path / "i.json")).why
    (tmp_path / "i.json").write_text("[")
    assert "not JSON" in read_gpu_uses(0.0, str(tmp_path / "i.json")).why
    (tmp_path / "i.json").write_text(json.dumps(document()))
    assert read_gpu_uses(1000.0, str(tmp_path / "i.json")).known


def test_bursts_count_over_a_minute_and_mig_stays_unknown() -> None:
    busy = Busy()
    assert busy.percents(0.0) == {}
    for second in range(0, 65, 5):
        busy.take(float(second), {"GPU-0": {"utilisation": 90.0 if second == 20 else 0.0}, "GPU-1": {"utilisation": None}})
    found = busy.percents(60.0)
    assert found["GPU-0"] == pytest.approx(90.0 / 13)
    assert found["GPU-1"] is None
    busy.take(62.0, {"GPU-1": {"utilisation": None}})
    assert set(busy.percents(62.0)) == {"GPU-1"}, "a GPU that does not answer any more has no use"
    assert busy.percents(63.0 + SPAN_S) == {}


def test_gpus_without_an_answer_are_published_as_such() -> None:
    from ds01.core.devices import Gpu, Inventory

    fields = dict.fromkeys(Gpu.__dataclass_fields__)
    gpu = Gpu(**{**fields, "uuid": "GPU-0", "index": 0, "model": "A", "mig_enabled": False, "healthy": True})  # type: ignore[arg-type]
    inventory = Inventory((gpu,), "", False, 0.0)
    entry = gpu_entries(inventory, {}, {})[0]
    assert entry["answers"] is False and entry["busy_percent"] is None and entry["memory_used"] is None
    assert gpu_entries(inventory, {"GPU-0": {"power": 5.0}}, {"GPU-0": 7.0})[0]["busy_percent"] == 7.0


class Listing:
    """A docker client that knows one answer."""

    def __init__(self, entries: list[Any]) -> None:
        self.entries = entries

    def call(self, *_: str) -> list[Any]:
        return self.entries


def test_one_odd_entry_does_not_hide_the_others(tmp_path: Path) -> None:
    good = {"Id": ID, "Names": ["/other/alias", "/train"], "Image": "i", "State": "running", "Labels": None, "Created": 5}
    bound = {
        **good,
        "Id": OTHER,
        "Names": [],
        "State": "exited",
        "Mounts": [{"Type": "bind", "Source": str(tmp_path)}, {"Type": "bind", "Source": "/no"}],
    }
    found = list_containers(Listing([None, {"Id": 3}, {}, good, bound]), {ID: "/x"})  # type: ignore[arg-type]
    assert [(one.facts.name, one.state, one.facts.cgroup_path) for one in found] == [("train", "running", "/x"), (OTHER[:12], "exited", "")]
    assert found[1].facts.bind_sources == {str(tmp_path): tmp_path.stat().st_uid}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"labels": {"ds01.uid": "1000", "ds01.kind": "compose"}}, (1000, "compose", False, False)),
        ({"labels": {"ds01.uid": "1000", "ds01.kind": "what"}}, (1000, "unknown", False, False)),
        ({"labels": {"ds01.uid": "1000", "ds01.kind": "docker", "ds01.protected": "true"}}, (1000, "docker", False, False)),
        ({"labels": {"ds01.protected": "True "}}, (None, "unknown", True, False)),
        ({"labels": {"ds01.protected": "no"}}, (None, "unknown", False, False)),
        ({"labels": {"ds01.uid": "1000", "ds01.kind": "docker", "ds01.keep": "1"}}, (1000, "docker", False, True)),
        ({"labels": {"aime.mlc.USER": "alice"}}, (1000, "docker", False, False)),
        ({"name": "old._.1001"}, (1001, "docker", False, False)),
        ({"labels": {"ds01.user": "bob", "com.docker.compose.project": "p"}}, (1001, "compose", False, False)),
        ({"bind_sources": {"/home/bob/x": 1000}}, (None, "unknown", False, False)),
        (
            {"bind_sources": {"/home/bob/x": 1001}, "labels": {"devcontainer.local_folder": "/home/bob/x"}},
            (1001, "devcontainer", False, False),
        ),
        ({"cgroup_path": f"/ds01.slice/ds01-u1000.slice/ds01-u1000-nogpu.slice/docker-{ID}.scope"}, (1000, "docker", False, False)),
        ({}, (None, "unknown", False, False)),
    ],
)
def test_whose_a_container_is_and_which_kind(facts: dict[str, Any], expected: tuple[int | None, str, bool, bool]) -> None:
    found: Subject = subject(ContainerFacts(**{"engine": "docker", "id": ID, "name": "x", **facts}), PEOPLE)
    assert (found.uid, found.kind, found.protected, found.keep) == expected
