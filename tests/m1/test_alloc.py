# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""ALLOC: who gets which GPU, and what those are told who get none."""

from __future__ import annotations

import json

import pytest

from tests.lab.server_access import wait_until
from tests.m1.row import Row
from tests.m1.world import World

_SHOW = "sh -c 'ls -d /dev/nvidia[0-9]* /dev/nvidia-caps/* 2>/dev/null'"


def _everybody(world: World) -> list[str]:
    """Eight students who hold all eight instances; their names."""
    names = [f"student{number}" for number in range(1, 21)]
    holders: list[str] = []
    for name in names:
        if world.run(name, f"-d --name full-{name} --gpus all").ok:
            holders.append(name)
        if len(holders) == 8:
            break
    assert len(holders) == 8
    return holders


@pytest.mark.requirement("ALLOC-01")
def test_gpus_all_is_ones_allocation(world: World, row: Row) -> None:
    row.did("student1 runs docker run --gpus all; student2 compose-like count=1; student3 the same by a raw CDI request")
    seen = world.run("student1", "--rm --gpus all", _SHOW).out.split()
    assert len([node for node in seen if node[11:].isdigit()]) == 1, seen
    second = world.run("student2", "--rm --gpus 1", _SHOW).out.split()
    assert len([node for node in second if node[11:].isdigit()]) == 1, second
    third = world.run("student3", "--rm --device nvidia.com/gpu=all", _SHOW)
    assert third.out.count("/dev/nvidia-caps/") in (0, 2) and len([n for n in third.out.split() if n[11:].isdigit()]) <= 1, third.text
    row.saw(f"one MIG instance each: {' '.join(seen)}")


@pytest.mark.requirement("ALLOC-02")
def test_two_at_once_never_get_one_device(world: World, row: Row) -> None:
    row.did("twenty students ask at the same moment for the eight instances")
    people = [world.person(f"student{number}") for number in range(1, 21)]
    running = [person.start(f"docker run -d --name crowd-{person.user} --gpus 1 {world.image} sleep 1000") for person in people]
    codes = [(process.communicate(timeout=900), process.returncode)[1] for process in running]
    held = world.claims()
    keys = {(device["gpu"], device["mig_uuid"]) for claim in held for device in claim["devices"]}
    files = world.root.must("ls /run/cdi").split()
    assert codes.count(0) == 8 == len(held) == len(keys), (codes.count(0), len(held), len(keys))
    assert sorted(files) == sorted(f"ds01-{claim['id']}.json" for claim in held)
    row.saw("8 succeed with 8 different instances, 12 are refused; the claims are the files that make the devices reachable")


@pytest.mark.requirement("ALLOC-03")
def test_full_gpus_and_instances_side_by_side(world: World, row: Row) -> None:
    row.did("researcher1 asks for a whole GPU, student1 for 2g.10gb, student2 for 15 GiB; researcher1 for a third equivalent")
    world.start("researcher1", "whole", "--gpus all --label ds01.gpu=full")
    world.start("student1", "profile", "--gpus all --label ds01.gpu=2g.10gb")
    world.start("student2", "memory", "--gpus all --label ds01.gpu=memory=15GiB")
    held = {claim["container"]: claim["devices"][0] for claim in world.claims()}
    assert held["whole"]["profile"] is None and held["profile"]["profile"] == "2g.10gb" and held["memory"]["profile"] == "3g.20gb", held
    world.start("researcher1", "whole2", "--gpus all --label ds01.gpu=full")
    third = world.run("researcher1", "--rm --gpus all", "true")
    assert not third.ok and "2" in third.err, third.text
    row.saw("a whole GPU, a 2g.10gb and a 3g.20gb; the third of researcher1 is refused, because two equivalents are held")


@pytest.mark.requirement("ALLOC-04")
def test_a_refusal_teaches(world: World, row: Row) -> None:
    row.did("eight students hold all instances; student20 asks for one; student1, who holds one, asks for a second")
    _everybody(world)
    refused = world.run("student20", "--rm --gpus all", "true")
    assert not refused.ok and "ds01 queue" in refused.err, refused.text
    own = world.run("student1", "--rm --gpus all --label ds01.gpu=3g.20gb", "true")
    assert not own.ok and "Traceback" not in own.text + refused.text
    row.saw("student20: " + " ".join(refused.err.split())[:300])


@pytest.mark.requirement("ALLOC-05")
def test_a_fair_queue(world: World, row: Row) -> None:
    row.did("with everything held, student18 and then student19 join the queue; one instance comes free")
    holders = _everybody(world)
    world.person("student18").must("ds01 queue join")
    world.person("student19").must("ds01 queue join")
    assert "1" in world.person("student18").must("ds01 queue")
    world.person(holders[0]).must(f"docker rm -f full-{holders[0]}")
    wait_until("it is offered", lambda: any(e["user"] == "student18" for e in world.events("--kind queue.offered --since 10m")), 120, 2)
    assert not world.run("student19", "--rm --gpus all", "true").ok, "student19 went before student18"
    assert not world.run("student20", "--rm --gpus all", "true").ok, "somebody who does not wait was served first"
    wait_until("student18 is told", lambda: "turn" in world.inbox("student18").lower(), 120, 3)
    world.start("student18", "my-turn", "--gpus all")
    world.person("student19").must("ds01 queue leave")
    row.saw("it is kept for student18, who is told; student19 and one who does not wait are refused; student18 starts")


@pytest.mark.requirement("ALLOC-06")
def test_reservations(world: World, row: Row) -> None:
    row.did("an admin reserves every 3g.20gb for student2 for an hour; student1 and student2 ask for one")
    world.root.must("ds01 reserve add m1 --profile 3g.20gb --count 2 --user student2 --from now --for 1h --reason exam")
    try:
        refused = world.run("student1", "--rm --gpus all --label ds01.gpu=3g.20gb", "true")
        assert not refused.ok, "a reserved device was given away"
        world.start("student2", "reserved", "--gpus all --label ds01.gpu=3g.20gb")
        assert "m1" in world.root.must("ds01 reserve list")
    finally:
        world.root.must("ds01 reserve remove m1")
    assert {"reservation.made", "reservation.ended"} <= set(world.kinds("--kind 'reservation.*' --since 10m"))
    row.saw("student1 is refused, student2 is served; made and ended are events")


@pytest.mark.requirement("ALLOC-07")
def test_priority_without_starvation(world: World, row: Row) -> None:
    row.did("with everything held, student19 joins the queue and then faculty1, whose group ranks higher; one instance comes free")
    holders = _everybody(world)
    world.person("student19").must("ds01 queue join")
    world.person("faculty1").must("ds01 queue join 1g.5gb")
    small = next(claim for claim in world.claims() if claim["devices"][0]["profile"] == "1g.5gb")
    world.person(small["user"]).must(f"docker rm -f {small['container']}")
    first = wait_until("it is offered", lambda: [e["user"] for e in world.events("--kind queue.offered --since 2m")], 120, 2)
    assert first[-1] == "faculty1", first
    status = json.loads(world.person("student19").must("ds01 queue --json"))
    world.person("student19").must("ds01 queue leave")
    world.person("faculty1").run("ds01 queue leave")
    assert holders and status
    row.saw("faculty1 is served before student19, whose rank rises with every hour of waiting (property tests show the bound)")
