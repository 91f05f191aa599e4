# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""DETECT: whatever uses a GPU is seen, told apart and attributed, whoever started it and however."""

from __future__ import annotations

import json

import pytest

from tests.m1.row import Row
from tests.m1.world import World

_OPEN = "--runtime runc --cgroup-parent system.slice --device /dev/nvidia0 --device /dev/nvidiactl"


def _seen(world: World, name: str, limit_s: float = 60) -> tuple[dict, float]:  # type: ignore[type-arg]
    return world.seconds_until(f"{name} is in the inventory", lambda: world.workload(name), limit_s)


@pytest.mark.requirement("DETECT-01")
def test_a_raw_container_around_the_platform(world: World, row: Row) -> None:
    row.did("root starts a container with GPU 0 on the daemon's own socket, past the gate; another privileged")
    world.as_root(f"run -d --name raw {_OPEN} --network none {world.image} sleep 1000")
    found, seconds = _seen(world, "raw")
    assert found["tracked"] is False
    world.as_root(f"run -d --name boss --runtime runc --privileged --network none {world.image} sleep 1000")
    assert _seen(world, "boss")[0]["privileged"] is True
    assert "workload.seen" in world.kinds("--container raw --since 5m")
    row.saw(f"both are in the inventory as {found['kind']}, untracked, after {seconds:.0f} s (asked for: 60), and an event says so")


@pytest.mark.requirement("DETECT-02")
def test_dev_containers_and_compose(world: World, row: Row) -> None:
    row.did("student1 starts a compose service and a container as the dev container CLI makes it, each with a GPU")
    service = {"image": world.image, "command": "sleep 1000"}
    device = {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    service["deploy"] = {"resources": {"reservations": {"devices": [device]}}}  # type: ignore[assignment]
    student = world.person("student1")
    student.must("mkdir -p detect && cat > detect/compose.yaml", stdin=json.dumps({"services": {"job": service}}))
    student.must("cd detect && docker compose up -d 2>&1", limit_s=300)
    found, seconds = _seen(world, "detect-job-1")
    assert (found["kind"], found["origin"], found["user"]) == ("managed", "compose", "student1"), found
    world.start("student2", "dev", "--gpus all --label devcontainer.local_folder=/home/student2/x")
    dev, later = _seen(world, "dev")
    assert (dev["kind"], dev["origin"], dev["user"]) == ("managed", "devcontainer", "student2"), dev
    row.saw(f"compose after {seconds:.0f} s and devcontainer after {later:.0f} s, with their people")


@pytest.mark.requirement("DETECT-03")
def test_a_process_on_the_host(world: World, row: Row) -> None:
    row.did("student4, in a login session, runs a program that is on GPU 0 outside any container")
    student = world.person("student4")
    running = student.start("exec -a train sleep 600")
    try:
        pid = world.seconds_until("the program runs", lambda: world.root.run("pgrep -u student4 -x sleep").out.split(), 20)[0][0]
        world.root.must(f"ds01-gpusim add-process --gpu 0 --pid {pid} --memory 3GiB")
        found, seconds = world.seconds_until(
            "it is in the inventory",
            lambda: next((w for w in world.workloads() if any(str(p["pid"]) == pid for p in w["processes"])), None),
            60,
        )
        assert found["kind"] == "host" and found["user"] == "student4", found
        assert found["attributed_by"]
        # One that lives for less than two looks at the GPUs is in the inventory, but no event.
        world.seconds_until("its beginning is on record", lambda: "host_process.seen" in world.kinds("--user student4 --since 5m"), 60)
        world.root.must(f"kill {pid}")
        world.seconds_until("its end is on record", lambda: "host_process.gone" in world.kinds("--user student4 --since 5m"), 60)
    finally:
        world.root.run("pkill -u student4 -x sleep")
        running.kill()
    row.saw(f"a host process of student4, found by {found['attributed_by']}, after {seconds:.0f} s; seen and gone are events")


@pytest.mark.requirement("DETECT-04")
def test_one_command_shows_all(world: World, row: Row) -> None:
    row.did("a managed container of student1, a raw one of root; 'ds01 workloads' as table, wide, by user and JSON, by root and student2")
    world.start("student1", "managed", "--gpus all")
    world.as_root(f"run -d --name raw {_OPEN} --network none {world.image} sleep 1000")
    _seen(world, "raw")
    _seen(world, "managed")
    for options in ("", "--wide", "--by-user"):
        text = world.root.must(f"ds01 workloads {options}")
        assert "student1" in text, text
    assert {"managed", "raw"} <= {one["name"] for one in world.workloads()}
    assert "managed" not in world.person("student2").run("ds01 workloads").text
    assert "managed" in world.person("student1").must("ds01 workloads")
    row.saw("root sees both in every form, student1 their own, student2 neither")


@pytest.mark.requirement("DETECT-05")
def test_a_container_without_labels(world: World, row: Row) -> None:
    row.did("a container made over the API with no label, in student5's slice, and one bound to student5's home")
    parent = "ds01-u3105-nogpu.slice"
    world.start("student5", "opens-the-slice")
    world.as_root(
        f"run -d --name nameless --runtime runc --cgroup-parent {parent} --device /dev/nvidia1 --network none {world.image} sleep 1000"
    )
    found, seconds = _seen(world, "nameless")
    assert found["user"] == "student5", found
    world.as_root(
        f"run -d --name homely --runtime runc --cgroup-parent system.slice --device /dev/nvidia1 -v /home/student5:/w --network none"
        f" {world.image} sleep 1000"
    )
    homely = _seen(world, "homely")[0]
    row.saw(f"attributed to student5 by {found['attributed_by']} after {seconds:.0f} s; by home: {homely['user'] or 'unattributed'}")


@pytest.mark.requirement("DETECT-06")
def test_the_inventory_as_metrics(world: World, row: Row) -> None:
    row.did("student4 has a process on GPU 1 outside any container; the exporter is scraped")
    running = world.person("student4").start("exec sleep 600")
    try:
        pid = world.seconds_until("the program runs", lambda: world.root.run("pgrep -u student4 -x sleep").out.split(), 20)[0][0]
        world.root.must(f"ds01-gpusim add-process --gpu 1 --pid {pid} --memory 2GiB")
        samples = world.seconds_until(
            "the metric counts it", lambda: [s for s in world.metric("ds01_untracked_gpu_processes") if not s.endswith(" 0.0")], 60
        )[0]
        usage = [s for s in world.metric("ds01_host_gpu_usage_bytes") if 'user="student4"' in s]
        assert usage and float(usage[0].split()[-1]) == 2 * 1024**3, usage
        assert "DS01HostGpuProcess" in world.root.must("cat /etc/prometheus/ds01/*.yml")
    finally:
        world.root.run("pkill -u student4 -x sleep")
        running.kill()
    row.saw(f"{samples[0]}; {usage[0]}; the alert DS01HostGpuProcess is in Prometheus' rules")
