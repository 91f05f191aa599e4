# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whole looks of the watcher: over lost GPUs, layouts being changed, values that GPUs don't tell, restarts and mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ds01_watch import memory
from ds01_watch.gpu_worker import look
from ds01_watch.journal import Journal
from ds01_watch.log_counts import LogCounts
from ds01_watch.memory import Memory
from ds01_watch.picture import Painter
from ds01_watch.watcher import Watcher

from ds01.claim_store import ClaimStore
from ds01.core.event import Event
from ds01.core.event_query import EventQuery
from ds01.core.oom_record import OomKill
from ds01.core.permit_changes import Permits
from ds01.core.workload_facts import ContainerFacts
from ds01.core.workload_schema import inventory_schema
from ds01.event_log import EventLog
from ds01.nvml import open_nvml
from tests.simulated_gpu import simulated_gpus

ROGUE = ContainerFacts("docker", "cd" * 32, "rogue", cgroup_path="/system.slice/x", every_gpu=True, privileged=True, access_by="privileged")
SENSORS = dict.fromkeys(("utilisation", "power", "energy", "temperature", "throttle", "memory_used", "memory_total"))


def gpu(uuid: str, *, mig: bool = False, healthy: bool = True) -> dict[str, Any]:
    known = {"uuid": uuid, "index": int(uuid[-1]), "minor": int(uuid[-1]), "model": "A100", "memory_mib": 40960, "mig_enabled": mig}
    return {**known, "compute_slices": 7, "healthy": healthy, "pool": "interactive", "instances": []}


class Feeds:
    """Stands in for all feeds; a look of NVML is what ``gpus`` and ``lost`` say."""

    def __init__(self) -> None:
        self.rounds = 0
        self.gpus = [gpu("GPU-0"), gpu("GPU-1")]
        self.lost: dict[str, str] = {}
        self.error: str | None = None
        self.table: tuple[ContainerFacts, ...] = (ROGUE,)

    def latest(self) -> tuple[dict[str, Any], float, str | None]:
        self.rounds += 1
        inventory = {"format": 1, "driver": "580", "simulated": True, "read_at": float(self.rounds), "gpus": self.gpus}
        read = {one["uuid"]: {"sensors": SENSORS, "processes": []} for one in self.gpus if one["uuid"] not in self.lost}
        return {"inventory": inventory, "gpus": read, "failed": self.lost, "xids": {}}, 0.1, self.error

    def containers(self) -> tuple[ContainerFacts, ...]:
        return self.table

    def trouble(self) -> tuple[None, None]:
        return None, None

    def heard_nano(self) -> int:
        return 5

    def concluded(self) -> list[Any]:
        return []


class Nothing(Feeds):
    """Another engine that runs nothing."""

    def containers(self) -> tuple[ContainerFacts, ...]:
        return ()


@pytest.fixture
def feeds() -> Feeds:
    return Feeds()


def watcher(tmp_path: Path, feeds: Any, left: Memory | None = None) -> Watcher:
    path = str(tmp_path / "events.jsonl")
    painter = Painter(feeds, feeds, Nothing(), ClaimStore(tmp_path / "cdi", tmp_path / "lock"))  # type: ignore[arg-type]
    files = (str(tmp_path / "inventory.json"), str(tmp_path / "watch.json"))
    return Watcher(painter, feeds, Journal(EventLog(path)), LogCounts(path), lambda _: Permits((), ()), left or Memory(), *files)


def told(tmp_path: Path) -> list[dict[str, Any]]:
    return list(EventLog(str(tmp_path / "events.jsonl")).read(EventQuery())) if (tmp_path / "events.jsonl").exists() else []


def test_what_is_published_is_what_the_schema_says(tmp_path: Path, feeds: Feeds) -> None:
    watcher(tmp_path, feeds).look()
    published = json.loads((tmp_path / "inventory.json").read_text())
    jsonschema.validate(published, inventory_schema())
    assert [(one["name"], one["access_by"]) for one in published["workloads"]] == [("rogue", "privileged")]
    assert {one["utilisation"] for one in published["gpus"]} == {None}, "what a GPU does not tell is not zero"
    for key in ("v", "time", "sources", "workloads"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({name: value for name, value in published.items() if name != key}, inventory_schema())


def test_a_restart_of_the_watcher_tells_nothing_twice(tmp_path: Path, feeds: Feeds) -> None:
    watcher(tmp_path, feeds).look()
    assert [one["kind"] for one in told(tmp_path)] == ["workload.seen"]
    left = memory.load(str(tmp_path / "watch.json"))
    assert left.heard_nano == 5
    watcher(tmp_path, feeds, left).look()
    assert len(told(tmp_path)) == 1
    (tmp_path / "watch.json").write_text('{"v": 1, "seen": []}')
    assert memory.load(str(tmp_path / "watch.json")) == Memory()


def test_a_process_that_was_told_of_is_remembered_with_its_event(tmp_path: Path) -> None:
    from ds01.core.workload_changes import Seen

    event = Event("host_process.seen", 1.0, "bob", 1002, gpus=("GPU-0",), by="ds01-watch", details={"pid": 42})
    memory.save(Memory(seen=Seen({("42", 7): 2}, {("42", 7): event}, frozenset({"ab"}))), str(tmp_path / "m.json"))
    left = memory.load(str(tmp_path / "m.json"))
    assert left.seen == Seen({("42", 7): 2}, {("42", 7): event}, frozenset({"ab"}))


def test_a_lost_gpu_is_stated_and_hides_no_other(tmp_path: Path, feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ds01_watch.watcher._GPU_PATIENCE_S", 0.0)
    one = watcher(tmp_path, feeds)
    one.look()
    feeds.gpus = [gpu("GPU-0", healthy=False), gpu("GPU-1")]
    feeds.lost = {"GPU-0": "GPU is lost"}
    one.look()
    one.look()
    published = json.loads((tmp_path / "inventory.json").read_text())
    assert [(entry["healthy"], entry["answers"]) for entry in published["gpus"]] == [(False, False), (True, True)]
    assert published["sources"]["gpu"]["ok"], "NVML answers; one GPU does not"
    feeds.gpus, feeds.lost = [gpu("GPU-0"), gpu("GPU-1")], {}
    one.look()
    said = [(event["details"]["part"], event["details"]["state"]) for event in told(tmp_path) if event["kind"] == "health.changed"]
    assert said == [("gpu GPU-0", "away: GPU is lost"), ("gpu GPU-0", "ok")]


def test_a_layout_that_is_changed_is_one_event_and_no_failure(tmp_path: Path, feeds: Feeds) -> None:
    one = watcher(tmp_path, feeds)
    one.look()
    feeds.error = "no entry among the MIG devices"
    one.look()
    feeds.error, feeds.gpus = None, [gpu("GPU-0", mig=True), gpu("GPU-1")]
    for _ in range(3):
        one.look()
    assert [event["kind"] for event in told(tmp_path)] == ["workload.seen", "mig.changed"]


def test_a_mistake_costs_a_look_and_is_counted(tmp_path: Path, feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> None:
    one = watcher(tmp_path, feeds)
    monkeypatch.setattr(feeds, "latest", lambda: ({"inventory": {}}, 0.0, None))
    one.look()
    monkeypatch.undo()
    one.look()
    assert (one.health().looks, one.health().failed) == (2, 1)
    assert (tmp_path / "inventory.json").exists()


def test_the_worker_keeps_a_gpu_that_falls_off_the_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = simulated_gpus(tmp_path, ["a100-40gb", "a100-40gb"])
    gpus.use_here(monkeypatch)
    with open_nvml() as nvml:
        _, before = look(nvml, {})
        gpus.lose(0)
        document, after = look(nvml, {}, before)
    assert [one.healthy for one in after.gpus] == [False, True]
    assert list(document["failed"]) == [before.gpus[0].uuid]
    assert list(document["gpus"]) == [before.gpus[1].uuid]


def test_a_kill_is_told_once_whoever_tells_of_it_first(tmp_path: Path, feeds: Feeds) -> None:
    one = watcher(tmp_path, feeds)
    said = {"Actor": {"ID": ROGUE.id, "Attributes": {}}, "timeNano": 10**9}
    one.oom_kill(OomKill(ROGUE.id, "python", 7))
    one.container_event("oom", ROGUE, said)
    one.oom_kill(OomKill("ef" * 32, "of another engine", 8))
    kills = [event for event in told(tmp_path) if event["kind"] == "container.oom"]
    assert [(event["container"], event["by"], event["details"]["task"]) for event in kills] == [("rogue", "kernel", "python")]
