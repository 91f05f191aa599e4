# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The sweep and people: who waits for a GPU, a drain, exemptions, quotas that are nearly used up."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from ds01 import disk_quota, maintenance_file, queue_file
from ds01.core.claim import ClaimedDevice
from ds01.core.disk_plan import DiskUse
from ds01.core.exemption_grants import Granted
from ds01.core.gpu_queue import Hold, Waiter
from ds01.core.maintenance import Maintenance
from ds01.core.queue_state import QueueState
from ds01.exemption_file import ExemptionFile

from .lifecycle_world import POLICY, UID, World, world


@pytest.fixture
def host(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def test_while_people_wait_idle_is_half_as_long_for_those_who_hold_a_gpu(host: World) -> None:
    policy = copy.deepcopy(POLICY)
    policy["defaults"]["lifecycle"].update(idle="40m", idle_halves_at=2)
    host.policy(policy)
    for number in (1, 2):
        host.container(number)
    host.claim(1)
    waiters = (Waiter("q1", 7001, "a", "count=1", host.now), Waiter("q2", 7001, "a", "count=1", host.now))
    queue_file.save(QueueState(waiters), host.places.queue)
    host.minutes(22)
    assert {name for kind, name, _ in host.said() if kind == "lifecycle.stopped"} == set(), "one person waits, twice"
    queue_file.save(QueueState((*waiters, Waiter("q3", 7002, "b", "count=1", host.now))), host.places.queue)
    host.minutes(2)
    assert host.said() == [("lifecycle.warned", "job1", "idle")]
    host.minutes(14)
    assert host.said()[-1] == ("lifecycle.stopped", "job1", "idle"), "in the ten minutes of its warning at the earliest"
    assert host.dockerd.containers[f"{2:064x}"]["State"] == "running"
    Path(host.places.queue).write_text("{")
    host.minutes(6)
    assert host.said()[-1] == ("lifecycle.stopped", "job2", "idle"), "a queue that can't be read stops no sweep"


def test_a_drain_warns_stops_by_its_deadline_and_ends_with_the_maintenance(host: World) -> None:
    policy = copy.deepcopy(POLICY)
    policy["defaults"]["lifecycle"].update(idle=None, runtime=None)
    host.policy(policy)
    for number in (1, 2):
        host.container(number)
    host.container(3, **{"ds01.protected": "true", "ds01.uid": "", "ds01.user": "", "ds01.kind": ""})
    deadline = host.now + 7200
    maintenance_file.save(Maintenance(host.now, None, "new kernel", "root", host.now, deadline), host.places.maintenance)
    host.minutes(16, 300.0)
    assert host.said() == []
    host.minutes(3, 200.0)
    assert sorted(host.said()) == [("lifecycle.warned", f"job{number}", "maintenance") for number in (1, 2)]
    assert "for maintenance of the server" in host.inbox()[-1]
    maintenance_file.remove(host.places.maintenance)
    host.minutes(1)
    assert sorted(host.said()[2:]) == [("lifecycle.withdrawn", f"job{number}", "maintenance") for number in (1, 2)]
    assert "called off" in host.inbox()[-1]
    maintenance_file.save(Maintenance(host.now, None, "new kernel", "root", host.now, deadline), host.places.maintenance)
    host.minutes(11, 180.0)
    assert {name for kind, name, _ in host.said() if kind == "lifecycle.stopped"} == {"job1", "job2"}
    assert host.now - deadline < 400
    assert "docker start job" in host.inbox()[-1]


def test_a_turn_in_the_queue_is_told_once(host: World) -> None:
    def turns() -> list[str]:
        return [text for text in host.inbox() if "It is your turn" in text]

    hold = Hold((ClaimedDevice("GPU-0", "GPU-0", 0, Fraction(1), 1000),), host.now, host.now + 600)
    own, other = Waiter("q1", UID, "student1", "count=1", host.now - 60), Waiter("q2", 7001, "b", "count=1", host.now)
    start = Waiter("q3", UID, "student1", "count=1", host.now, f"{9:064x}")
    queue_file.save(QueueState((own, other, start)), host.places.queue)
    host.minutes(2)
    assert turns() == []
    queue_file.save(QueueState((dataclasses.replace(own, hold=hold), other, start)), host.places.queue)
    host.minutes(3)
    assert len(turns()) == 1 and "kept for you" in turns()[0]
    host.claim(9)
    queue_file.save(QueueState((dataclasses.replace(own, hold=hold), other)), host.places.queue)
    host.minutes(3)
    assert len(turns()) == 2 and "has its GPU" in turns()[1]
    queue_file.save(QueueState((other,)), host.places.queue)
    host.minutes(2)
    assert len(turns()) == 2


def test_a_start_that_waits_in_the_queue_is_not_one_that_was_never_started(host: World) -> None:
    waiting, forgotten = host.container(1, state="created"), host.container(2, state="created")
    queue_file.save(QueueState((Waiter("q1", UID, "student1", "count=1", host.now, waiting),)), host.places.queue)
    host.minutes(14, 180.0)
    assert waiting in host.dockerd.containers and forgotten not in host.dockerd.containers
    queue_file.save(QueueState(), host.places.queue)
    host.minutes(9, 180.0)
    assert waiting in host.dockerd.containers, "its time begins when it waits no more"
    Path(host.places.queue).write_text("{")
    host.minutes(9, 180.0)
    assert waiting in host.dockerd.containers, "nobody knows whether it waits"
    queue_file.save(QueueState(), host.places.queue)
    host.minutes(12, 180.0)
    assert waiting not in host.dockerd.containers


def test_near_disk_and_gpu_hours_a_person_is_told_too(host: World, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = copy.deepcopy(POLICY)
    policy["defaults"]["gpu"] = {"hours_per_week": 10}
    host.policy(policy)
    host.container(1, state="exited")
    day = int(host.now // 86400)
    used = {"bytes": 85 * 2**30}
    monkeypatch.setattr(disk_quota, "usage", lambda uid, settings: DiskUse(used["bytes"], 100 * 2**30, "/home"))
    queue_file.save(QueueState((), {UID: {day: 3600.0 * 8.5}}, host.now), host.places.queue)
    host.minutes(2)
    assert sorted(host.inbox()) == [
        "You use 85 % of your GPU-hours of seven days: 8.5 of 10 GPU-hours. See: ds01 quota",
        "You use 85 % of your disk quota: 85.0 of 100.0 GiB in /home. See: ds01 quota",
    ]
    used["bytes"] = 60 * 2**30
    host.minutes(1)
    used["bytes"] = 95 * 2**30
    host.minutes(2)
    assert len(host.inbox()) == 3, "told again after it has fallen well below"


def test_an_exemption_by_command_holds_and_ends_by_itself(host: World) -> None:
    host.container(1)
    file = ExemptionFile(host.places.exemptions)
    file.write((Granted("student1", "job1", ("idle",), host.now + 3600, "deadline", "root", host.now),))
    host.minutes(59)
    assert host.said() == []
    host.minutes(2)
    assert host.said() == [("grant.ended", "job1", "expired"), ("lifecycle.warned", "job1", "idle")]
    assert file.read() == ()
    host.minutes(15)
    assert host.said()[-1] == ("lifecycle.stopped", "job1", "idle")


def test_near_a_quota_a_person_is_told_once(host: World) -> None:
    for number in range(3):
        host.container(number)
    slice_ = host.root / f"cgroup/ds01.slice/ds01-u{UID}.slice"
    (slice_ / "memory.current").write_text(str(60 * 2**30))
    (slice_ / "memory.stat").write_text(f"anon 1\ninactive_file {58 * 2**30}\n")
    host.minutes(3)
    assert len(host.inbox()) == 1
    assert "100 % of your container quota: 3 of 3 containers" in host.inbox()[0]
