# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""LOG: every lifecycle event, every decision about a GPU, and who was there, on record and to be asked for."""

from __future__ import annotations

import json

import pytest

from tests.lab.server_access import wait_until
from tests.m1.row import Row
from tests.m1.world import World


@pytest.mark.requirement("LOG-01")
def test_every_lifecycle_event_of_a_container(world: World, row: Row) -> None:
    row.did("student1 creates, starts, stops and removes a container; another is killed by the kernel for want of memory")
    world.start("student1", "logged")
    world.person("student1").must("docker stop -t 1 logged && docker rm logged")
    world.run("student1", "--name hog -m 64m", "sh -c 'dd if=/dev/zero of=/dev/null bs=200M count=1'")
    world.person("student1").must("docker rm -f hog")
    wanted = {f"container.{what}" for what in ("create", "start", "stop", "die", "remove")}
    found = wait_until("all events", lambda: (got := set(world.kinds("--container logged --since 10m"))) >= wanted and got, 30)
    wait_until("the kernel's kill", lambda: "container.oom" in world.kinds("--container hog --since 10m"), 30)
    created = next(event for event in world.events("--container logged --kind container.create --since 10m"))
    assert created["user"] == "student1" and created["time"]
    assert created["details"], "how it was made is not on record"
    row.saw(f"{', '.join(sorted(found & wanted))} and container.oom, with time, user and how it was made")


@pytest.mark.requirement("LOG-02")
def test_every_decision_about_a_gpu(world: World, row: Row) -> None:
    row.did("student1 is given a GPU, refused two, and gives it back; the gate denies a mount of /etc")
    world.start("student1", "gpu", "--gpus all")
    assert not world.run("student1", "--rm --gpus 2", "true").ok
    assert not world.run("student1", "--rm -v /etc:/m", "true").ok
    world.person("student1").must("docker rm -f gpu")
    wanted = {"claim.granted", "claim.released", "gate.denied"}
    wait_until("the events", lambda: wanted <= set(world.kinds("--user student1 --since 10m")), 30)
    lines = world.root.must("tail -n 200 /var/log/ds01/events.jsonl").splitlines()
    assert all(json.loads(line)["kind"] for line in lines)
    granted = world.events("--user student1 --kind claim.granted --since 10m")[-1]
    assert granted["gpus"] and granted["container"] == "gpu"
    refused = world.events("--user student1 --since 10m")
    assert any("2 devices" in json.dumps(event) for event in refused), "the refusal of two devices is not on record"
    row.saw("claim.granted, claim.released and gate.denied as JSON lines; the refusal with its numbers")


@pytest.mark.requirement("LOG-03")
def test_the_log_is_queried(world: World, row: Row) -> None:
    row.did("root asks by user, container, kind and time, as table and JSON; student2 asks for student1's")
    world.start("student1", "asked")
    wait_until("the event", lambda: world.kinds("--container asked --kind container.start --since 5m"), 30)
    assert world.events("--user student1 --container asked --since 5m")
    assert world.events("--container asked --until 1d") == []
    assert "container.start" in world.root.must("ds01 events --container asked")
    own = world.events("--since 5m", by=world.person("student1"))
    assert own and {event.get("user") for event in own} == {"student1"}
    assert "asked" not in world.person("student2").run("ds01 events --json --user student1 --since 5m").out
    assert "Permission denied" in world.person("student1").run("cat /var/log/ds01/events.jsonl").err
    assert not world.person("student1").run("echo {} >> /var/log/ds01/events.jsonl").ok
    row.saw("root sees everybody's, student1 their own, student2 nothing of student1's; nobody writes or reads the file itself")


@pytest.mark.requirement("LOG-04")
def test_exporters_are_supervised(world: World, row: Row) -> None:
    row.did("root kills the watcher and the node exporter with SIGKILL, and asks Prometheus for its targets")
    for unit in ("ds01-watch", "prometheus-node-exporter"):
        world.root.must(f"systemctl kill -s KILL {unit}.service")
        wait_until(f"{unit} is back", lambda unit=unit: world.root.run(f"systemctl is-active {unit}").out.strip() == "active", 60)
    rules = world.root.must("cat /etc/prometheus/ds01/*.yml")
    assert "DS01TargetDown" in rules and "DS01WatchDown" in rules
    query = "import json, urllib.request as u; print(json.load(u.urlopen('http://127.0.0.1:9090/api/v1/targets'))['data']['activeTargets'])"
    found = wait_until(
        "all targets are up", lambda: (text := world.root.must(f'python3 -c "{query}"')) and "'health': 'down'" not in text and text, 120, 3
    )
    assert "9101" in found and "9100" in found
    row.saw("both are running again; all targets of Prometheus are up; alerts for those that are down stand in the rules")


@pytest.mark.requirement("LOG-05")
def test_logins_are_on_record(world: World, row: Row) -> None:
    row.did("student3 logs in and runs a program; root asks who was there")
    world.person("student3").new_session().must("id -un")
    found = wait_until("the login", lambda: "student3" in (text := world.root.must("ds01 logins --since 1h")) and text, 60, 2)
    assert world.root.must("systemctl is-active auditd") == "active"
    assert world.root.must("systemctl list-timers --all --no-legend 'ds01-login*'").strip()
    row.saw(f"student3's login is shown ({len(found.splitlines())} lines), the audit runs, a timer writes the summary of the day")
