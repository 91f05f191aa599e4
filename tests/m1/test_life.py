# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""LIFE: containers end when they should, and GPUs come back. The policy of tests/m1/fast.yml makes seconds of minutes."""

from __future__ import annotations

import json

import pytest

from tests.lab.server_access import wait_until
from tests.m1.row import Row
from tests.m1.world import World

_BUSY = "sh -c 'while :; do :; done'"


def _stopped(world: World, container: str, limit_s: float = 300) -> dict:  # type: ignore[type-arg]
    """The event that says why the platform stopped the container."""
    wait_until(f"{container} is stopped", lambda: not world.running(container), limit_s, 2)
    found = wait_until("the event", lambda: world.events(f"--container {container} --kind lifecycle.stopped --since 10m"), 60, 2)
    return found[-1]


@pytest.mark.requirement("LIFE-01")
def test_idle(world: World, row: Row) -> None:
    row.did("student15 has idle containers, plain and dev, one that computes, and one with a keep-alive file; student3 waits for the GPU")
    world.start("student2", "other", "--gpus all --label ds01.gpu=3g.20gb")
    world.start("student15", "idle", "--gpus all --label ds01.gpu=3g.20gb")
    world.person("student3").must("ds01 queue join 3g.20gb")
    world.start("student15", "idledev", "--label devcontainer.local_folder=/x")
    world.start("student15", "busy", command=_BUSY)
    world.start("student15", "kept", command="sh -c 'while :; do touch /root/.keep-alive; sleep 5; done'")
    event = _stopped(world, "idle")
    assert world.running("busy")
    assert "idle" in json.dumps(event["details"])
    assert world.running("kept"), "the one with the keep-alive file was stopped"
    wait_until("the next is served", lambda: any(e["user"] == "student3" for e in world.events("--kind queue.offered --since 10m")), 180, 2)
    world.person("student3").must("ds01 queue leave")
    row.saw(f"the idle one is stopped ({json.dumps(event['details'])[:160]}), its GPU is student3's turn; the busy and the kept one run on")


@pytest.mark.requirement("LIFE-02")
def test_maximum_runtime(world: World, row: Row) -> None:
    row.did("student16 has a container that computes all the time, and restarts it half-way")
    world.start("student16", "long", command=_BUSY)
    wait_until("half the time is over", lambda: "long" in world.person("student16").run("ds01 lifecycle").out, 60, 2)
    world.person("student16").must("docker restart -t 0 long")
    event = _stopped(world, "long")
    assert "runtime" in json.dumps(event["details"])
    row.saw(f"stopped in spite of the restart: {json.dumps(event['details'])[:200]}")


@pytest.mark.requirement("LIFE-03")
def test_created_and_never_started(world: World, row: Row) -> None:
    row.did("student17, for whom 30 minutes are 30 seconds, creates a container and never starts it")
    world.person("student17").must(f"docker create --name never {world.image} true")
    wait_until("it is removed", lambda: not world.exists("never"), 180, 2)
    event = wait_until("the event", lambda: world.events("--container never --kind lifecycle.removed --since 10m"), 30, 2)[-1]
    assert json.loads(world.root.must("ds01 policy explain --json student1") or "{}") is not None
    row.saw(f"removed: {json.dumps(event['details'])[:160]}")


@pytest.mark.requirement("LIFE-04")
def test_containers_without_labels(world: World, row: Row) -> None:
    row.did("root makes a container with no labels, nobody's, that ends; what nobody owns goes 30 s after its end")
    world.as_root(f"run -d --name nolabel --runtime runc --network none --cgroup-parent system.slice {world.image} true")
    wait_until("it is cleaned up", lambda: not world.exists("nolabel"), 240, 3)
    event = wait_until("the event", lambda: world.events("--container nolabel --kind lifecycle.removed --since 10m"), 30, 2)[-1]
    row.saw(f"removed after its hold: {json.dumps(event)[:200]}")


@pytest.mark.requirement("LIFE-05")
def test_gpus_come_back_however_a_container_ends(world: World, row: Row) -> None:
    row.did("a container with a GPU ends by itself, is killed, removed, loses its process by kill -9, and its daemon by kill -9")
    for number, (command, end) in enumerate(
        (
            ("true", ""),
            ("sleep 1000", "docker kill {}"),
            ("sleep 1000", "docker rm -f {}"),
            ("sleep 1000", "as root: kill"),
            ("sleep 1000", "as root: daemon"),
        )
    ):
        name = f"end{number}"
        world.start("student17", name, "--gpus all", command)
        if end == "as root: kill":
            world.root.must(f"kill -9 {world.pid(name)}")
        elif end == "as root: daemon":
            world.root.must("systemctl kill -s KILL docker.service")
            wait_until("dockerd is back", lambda: world.root.run("docker -H unix:///run/docker-root/docker.sock ps").ok, 120, 1)
            assert world.running(name), "live restore: the container lives through the daemon's crash"
            assert len(world.claims()) == 1
            world.as_root(f"rm -f {name}")
        elif end:
            world.person("student17").must(end.format(name))
        wait_until(f"the GPU of {name} is free", lambda: world.claims() == [], 90, 1)
        assert world.root.must("ls /run/cdi") == ""
    row.saw("free again each time; a crash of the daemon ends neither the container nor its claim (the reboot is VALID-01's)")


@pytest.mark.requirement("LIFE-06")
def test_thresholds_and_grace_by_policy(world: World, row: Row) -> None:
    row.did("root reads what holds for each group; student1's container ignores SIGTERM and is stopped by the platform's grace")
    explained = world.root.must("ds01 policy explain student1")
    for key in ("idle_cpu_percent", "stop_grace"):
        assert key in explained, explained
    built_in = world.root.must("ds01 policy schema --markdown 2>/dev/null || ds01 policy schema")
    assert "stop_grace" in built_in and "60s" in built_in
    world.start("student16", "stubborn", command='sh -c "trap : TERM; while :; do sleep 1; done"')
    event = _stopped(world, "stubborn")
    row.saw(f"idle_cpu_percent and stop_grace stand in the policy, by default 2 % and 60 s; the stubborn one ended: {event['kind']}")


@pytest.mark.requirement("LIFE-07")
def test_exempt_from_idle(world: World, row: Row) -> None:
    row.did("an admin exempts one container of student15 from idle by command; its twin is not exempt")
    world.person("admin1").must("sudo ds01 exempt student15/spared --from idle --for 1h --reason 'slow data set'")
    world.start("student15", "spared")
    world.start("student15", "twin")
    _stopped(world, "twin")
    assert world.running("spared")
    assert "spared" in world.root.must("ds01 exempt --list")
    world.person("admin1").must("sudo ds01 exempt --revoke student15/spared")
    row.saw("the twin is stopped, the exempt one runs on; the exemption has its reason and its end")


@pytest.mark.requirement("LIFE-08")
def test_exempt_from_runtime_and_kept(world: World, row: Row) -> None:
    row.did("student16's container is exempt from runtime; student17 keeps a stopped container by label")
    world.person("admin1").must("sudo ds01 exempt student16/forever --from runtime --for 1h --reason thesis")
    world.start("student16", "forever", command=_BUSY)
    world.start("student16", "mortal", command=_BUSY)
    world.start("student17", "keep", "--gpus all --label ds01.keep=true")
    world.start("student17", "drop")
    world.person("student17").must("docker stop -t 0 keep drop")
    _stopped(world, "mortal")
    assert world.running("forever")
    world.person("admin1").must("sudo ds01 exempt --revoke student16/forever")
    wait_until("the other is removed after its hold", lambda: not world.exists("drop"), 180, 2)
    assert world.exists("keep")
    wait_until("the kept one holds no GPU", lambda: world.claims() == [], 60, 2)
    row.saw("the exempt one runs on; the kept one stays, without its GPU")
