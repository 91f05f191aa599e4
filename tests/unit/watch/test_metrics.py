# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The metrics of a known picture: names, units, labels, and nothing said that is not known."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

from ds01_watch.allowances import Allowance
from ds01_watch.log_counts import LogCounts
from ds01_watch.metrics import WatchCollector
from ds01_watch.people_metrics import PeopleCollector
from ds01_watch.picture import Picture
from ds01_watch.platform_metrics import OwnHealth, PlatformCollector
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ds01.cgroup_fs import CgroupFs
from ds01.core.claim import Claim, ClaimedDevice
from ds01.core.devices import Gpu, Inventory
from ds01.core.event import Event
from ds01.core.gate_measures import BOUNDS_S, GateMeasures
from ds01.core.gpu_queue import Waiter
from ds01.core.workload_document import workloads
from ds01.core.workload_facts import ContainerFacts, People, ProcessFacts
from ds01.event_log import EventLog

ID = "ab" * 32
INVENTORY = Inventory((Gpu("GPU-0", 0, 0, "A100", 40960, False, 7), Gpu("GPU-1", 1, 1, "A100", 40960, True, 7)), "580-sim", True, 1.0)
CONTAINER = ContainerFacts(
    "docker", ID, "train", cgroup_path=f"/ds01.slice/ds01-u1001.slice/ds01-u1001-c1.slice/docker-{ID}.scope", labels={"ds01.uid": "1001"}
)
HOST = ProcessFacts(42, 7, 1002, 1002, "/user.slice/user-1002.slice/s.scope", "python", "/usr/bin/python3", "GPU-0", None, 2**30)
PEOPLE = People({1001: "alice", 1002: "bob"}, {})
SENSORS = {"utilisation": 50.0, "power": 200.0, "energy": 1234.5, "temperature": 40.0, "throttle": 0x21, "ecc_corrected": None}


def claim(container_id: str, held: float | None = None) -> Claim:
    return Claim(
        "c000000000001",
        1001,
        "alice",
        container_id,
        "train",
        "all",
        (ClaimedDevice("k", "GPU-1", 1, Fraction(3, 7), 1, "3g.20gb"),),
        1.0,
        "g",
        held,
    )


class World:
    """What the collectors are told."""

    def __init__(self, tmp_path: Path) -> None:
        self.cgroups = CgroupFs(tmp_path)
        self.log = LogCounts(str(tmp_path / "events.jsonl"))
        self.claims: tuple[Claim, ...] = ()
        self.away: float | None = None
        self.allowances: tuple[Allowance, ...] = ()
        self.waiters: tuple[Waiter, ...] | None = ()
        self.gate: GateMeasures | None = None

    def text(self) -> str:
        found = workloads(INVENTORY, [CONTAINER], [HOST], self.claims, PEOPLE)
        picture = Picture(
            1.0, INVENTORY, {"GPU-0": SENSORS}, {"GPU-0": {"79": 2}}, (CONTAINER,), found, self.claims, 3.0, None, self.away, None
        )
        registry = CollectorRegistry()
        registry.register(WatchCollector(lambda: picture, "0.1.0"))
        registry.register(PeopleCollector(self.cgroups, lambda: self.claims, lambda: self.allowances, lambda: self.waiters, lambda: 100.0))
        registry.register(PlatformCollector(lambda: self.gate, self.log, lambda: OwnHealth(7, 1, 0.5, 99.0, 4), lambda: 50.0))
        return generate_latest(registry).decode()

    def exposed(self) -> dict[str, dict[tuple[str, ...], float]]:
        return {
            family.name: {tuple(value for _, value in sorted(sample.labels.items())): sample.value for sample in family.samples}
            for family in text_string_to_metric_families(self.text())
        }


def exposed(tmp_path: Path, *, claims: tuple[Claim, ...] = (), away: float | None = None) -> dict[str, dict[tuple[str, ...], float]]:
    world = World(tmp_path)
    world.claims, world.away = claims, away
    return world.exposed()


def test_what_is_known_is_said_in_base_units(tmp_path: Path) -> None:
    slice_dir = tmp_path / "ds01.slice" / "ds01-u1001.slice"
    slice_dir.mkdir(parents=True)
    (slice_dir / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (slice_dir / "memory.current").write_text("4096\n")
    (slice_dir / "memory.events").write_text("low 0\noom_kill 3\n")
    (slice_dir / "io.stat").write_text("254:0 rbytes=10 wbytes=20 rios=1\n254:16 rbytes=5 wbytes=1\n")
    (slice_dir / "memory.pressure").write_text("some avg10=0.00 total=1500000\nfull avg10=0.00 total=500000\n")
    found = exposed(tmp_path, claims=(claim(ID),))
    assert found["ds01_gpu_utilization_ratio"] == {("GPU-0",): 0.5}
    assert found["ds01_gpu_energy_joules"] == {("GPU-0",): 1234.5}
    assert found["ds01_gpu_thermally_throttled"] == {("GPU-0",): 1.0}
    assert found["ds01_gpu_xid_errors"] == {("GPU-0",): 2.0}
    assert found["ds01_claim_gpu_equivalents"] == {("c000000000001", "GPU-1", "3g.20gb", "running", "alice"): float(Fraction(3, 7))}
    assert found["ds01_workloads"] == {("host", "bob"): 1.0, ("managed", "alice"): 1.0}
    assert found["ds01_host_gpu_usage_bytes"] == {("bob",): float(2**30)}
    assert found["ds01_untracked_gpu_processes"] == {(): 1.0}
    assert found["ds01_user_cpu_seconds"] == {("1001",): 2.5}
    assert found["ds01_user_oom_kills"] == {("1001",): 3.0}
    assert found["ds01_user_io_read_bytes"] == {("1001",): 15.0}
    assert found["ds01_user_pressure_seconds"] == {("memory", "some", "1001"): 1.5, ("memory", "full", "1001"): 0.5}
    assert found["ds01_gpu_xid_errors_by_code"] == {("GPU-0", "79"): 2.0}
    lowered = {reason for (_, reason), value in found["ds01_gpu_clocks_lowered"].items() if value}
    assert lowered == {"gpu_idle", "sw_thermal"}
    assert found["ds01_events_unwritten"] == {("ds01-watch",): 4.0}
    assert found["ds01_watch_looks_failed"] == {(): 1.0}
    assert found["ds01_watch_last_look_timestamp_seconds"] == {(): 99.0}
    assert found["ds01_build_info"][("0.1.0", "true")] == 1.0


def test_what_is_not_known_is_absent(tmp_path: Path) -> None:
    found = exposed(tmp_path)
    assert found["ds01_gpu_ecc_corrected_errors"] == {}
    assert found["ds01_gpu_memory_used_bytes"] == {}
    assert found["ds01_user_tasks"] == {}
    assert found["ds01_gpu_healthy"] == {("GPU-0",): 1.0, ("GPU-1",): 0.0}


def test_a_claim_adrift_is_counted_unless_it_is_held_or_dockerd_is_away(tmp_path: Path) -> None:
    assert exposed(tmp_path, claims=(claim("cd" * 32),))["ds01_claims_without_container"] == {(): 1.0}
    assert exposed(tmp_path, claims=(claim("cd" * 32, held=9.0),))["ds01_claims_without_container"] == {(): 0.0}
    assert exposed(tmp_path, claims=(claim(ID),))["ds01_claims_without_container"] == {(): 0.0}
    assert "ds01_claims_without_container" not in exposed(tmp_path, claims=(claim("cd" * 32),), away=3.0)


def test_who_holds_what_may_hold_what_and_waits(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.claims = (claim(ID),)
    world.allowances = (Allowance(1001, "alice", "phd", 2.0), Allowance(1002, "bob", "staff", None))
    world.waiters = (Waiter("q1", 1002, "bob", "full", 40.0), Waiter("q2", 1002, "bob", "full", 70.0, "x"))
    found = world.exposed()
    assert found["ds01_user_gpu_equivalents"] == {("alice",): float(Fraction(3, 7)), ("bob",): 0.0}
    assert found["ds01_user_gpu_equivalents_allowed"] == {("alice",): 2.0}, "without limit is absent, not a number"
    assert found["ds01_user_info"] == {("phd", "1001", "alice"): 1.0, ("staff", "1002", "bob"): 1.0}
    assert found["ds01_queue_length"] == {(): 2.0}
    assert found["ds01_queue_waiting"] == {("bob",): 2.0}
    assert found["ds01_queue_longest_wait_seconds"] == {(): 60.0}
    world.waiters = None
    assert "ds01_queue_length" not in world.exposed(), "a queue that can't be read is not an empty one"


def test_the_gate_s_verdicts_and_pace(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.exposed()["ds01_gate_up"] == {(): 0.0}
    judged = (1, 2, *([0] * (len(BOUNDS_S) - 2)), 3)
    verdicts = {("forwarded", ""): 5, ("refused", "gpu.quota"): 2}
    world.gate = GateMeasures(45.0, 9.0, verdicts, judged, 1.5, 3, 6, True)
    found = world.exposed()
    assert found["ds01_gate_up"] == {(): 1.0}
    assert found["ds01_gate_requests"] == {("", "forwarded"): 5.0, ("gpu.quota", "refused"): 2.0}
    assert found["ds01_events_unwritten"] == {("ds01-watch",): 4.0, ("ds01-gate",): 6.0}
    assert found["ds01_gate_policy_valid"] == {(): 1.0}
    lines = world.text().splitlines()
    assert f'ds01_gate_judgement_seconds_bucket{{le="{BOUNDS_S[0]}"}} 1.0' in lines
    assert f'ds01_gate_judgement_seconds_bucket{{le="{BOUNDS_S[-1]}"}} 3.0' in lines
    assert 'ds01_gate_judgement_seconds_bucket{le="+Inf"} 6.0' in lines
    assert "ds01_gate_judgement_seconds_count 6.0" in lines
    world.gate = dataclasses.replace(world.gate, uptime=10.0)
    stale = world.exposed()
    assert stale["ds01_gate_up"] == {(): 0.0}
    assert "ds01_gate_connections" not in stale


def test_events_are_counted_by_kind_also_across_a_rotation(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path / "events.jsonl"))
    log.append(Event("claim.refused", 1.0, details={"rule": "gpu.quota"}))
    world = World(tmp_path)
    log.append(Event("claim.refused", 2.0, details={"rule": "gpu.quota"}))
    (tmp_path / "events.jsonl").rename(tmp_path / "events.jsonl-1")
    log.append(Event("lifecycle.stopped", 3.0, details={"why": "idle"}))
    with open(log.path, "ab") as stream:
        stream.write(b'{"kind":\n{"kind":"no.such"}\n[]\n')
    world.log.read()
    world.log.read()
    found = world.exposed()
    assert {kind for kind, count in found["ds01_events"].items() if count} == {("claim.refused",), ("lifecycle.stopped",)}
    assert found["ds01_events"][("host_process.seen",)] == 0.0
    assert found["ds01_claim_refusals"] == {("gpu.quota",): 1.0}
    assert found["ds01_lifecycle_actions"] == {("stopped", "idle"): 1.0}


def test_labels_stay_few_whatever_people_call_things(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path / "events.jsonl"))
    world = World(tmp_path)
    for number in range(300):
        log.append(Event("claim.refused", 2.0, details={"rule": f"rule {number}"}))
        log.append(Event("lifecycle.failed", 2.0, details={"why": f"reason {number}"}))
    world.log.read()
    found = world.exposed()
    assert len(found["ds01_claim_refusals"]) <= 101
    assert found["ds01_claim_refusals"][("other",)] == 200.0
    assert len(found["ds01_lifecycle_actions"]) <= 101
