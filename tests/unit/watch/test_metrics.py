# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The metrics of a known picture: names, units, labels, and nothing said that is not known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from ds01_watch.metrics import WatchCollector
from ds01_watch.picture import Picture
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ds01.cgroup_fs import CgroupFs
from ds01.core.claim import Claim, ClaimedDevice
from ds01.core.devices import Gpu, Inventory
from ds01.core.workload_document import workloads
from ds01.core.workload_facts import ContainerFacts, People, ProcessFacts

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


def exposed(tmp_path: Path, *, claims: tuple[Claim, ...] = (), away: float | None = None) -> dict[str, dict[tuple[str, ...], float]]:
    found = workloads(INVENTORY, [CONTAINER], [HOST], claims, PEOPLE)
    picture = Picture(1.0, INVENTORY, {"GPU-0": SENSORS}, {"GPU-0": {"79": 2}}, (CONTAINER,), found, claims, 3.0, None, away, None)
    registry = CollectorRegistry()
    registry.register(WatchCollector(lambda: picture, CgroupFs(tmp_path), "0.1.0", lambda: 4))
    text = generate_latest(registry).decode()
    return {
        family.name: {tuple(value for _, value in sorted(sample.labels.items())): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


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
    assert found["ds01_events_unwritten"] == {(): 4.0}
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
