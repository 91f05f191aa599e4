# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""LABEL and NOTIFY: whose a container is, and what people are told."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.lab.server_access import wait_until
from tests.m1.row import Row
from tests.m1.world import World


@pytest.mark.requirement("LABEL-01")
def test_every_container_has_labels(world: World, row: Row) -> None:
    row.did("student1 makes containers by run, create, compose and as the dev container CLI does, and forges labels on one")
    student = world.person("student1")
    world.start("student1", "plain")
    world.start("student1", "forged", "--label ds01.user=admin1 --label ds01.uid=0")
    world.start("student1", "dev", "--label devcontainer.local_folder=/x")
    compose = {"services": {"job": {"image": world.image, "command": "sleep 1000"}}}
    student.must("mkdir -p lab && cat > lab/compose.yaml", stdin=json.dumps(compose))
    student.must("cd lab && docker compose up -d 2>&1", limit_s=300)
    kinds = {}
    for name in ("plain", "forged", "dev", "lab-job-1"):
        labels = json.loads(world.as_root(f"inspect -f '{{{{json .Config.Labels}}}}' {name}"))
        assert (labels.get("ds01.user"), labels.get("ds01.uid")) == ("student1", "3101"), labels
        kinds[name] = labels.get("ds01.kind")
    assert kinds["dev"] == "devcontainer" and kinds["lab-job-1"] == "compose", kinds
    row.saw(f"ds01.user=student1 on each, also on the forged one; kinds: {kinds}")


@pytest.mark.requirement("LABEL-02")
def test_containers_of_before(world: World, row: Row) -> None:
    row.did("a container of before the gate, with aime.mlc labels and name old._.3101, is used by student1 and tried by student2")
    world.as_root(f"run -d --name old._.3101 --runtime runc --network none --label aime.mlc.USER=student1 {world.image} sleep 1000")
    student = world.person("student1")
    assert "old._.3101" in student.must("docker ps")
    assert student.must("docker exec old._.3101 echo works") == "works"
    student.must("docker stop -t 0 old._.3101 && docker start old._.3101")
    other = world.person("student2")
    assert "old._.3101" not in other.must("docker ps -a")
    assert not other.run("docker exec old._.3101 true").ok
    shown = world.playbook("migrate_labels.yml")
    assert shown.code == 0 and "old._.3101" in shown.text, shown.text[-2000:]
    assert shown.changed == ()
    row.saw("student1 sees, enters, stops and starts it, student2 does not; the dry run of migrate_labels.yml lists it and changes nothing")


@pytest.mark.requirement("NOTIFY-01")
def test_warned_before_an_idle_stop(world: World, row: Row) -> None:
    row.did("student15, for whom 15 minutes are 20 seconds, has an idle container")
    world.start("student15", "doze")
    wait_until("it is stopped", lambda: not world.running("doze"), 300, 2)
    warned = world.events("--container doze --kind lifecycle.warned --since 10m")[-1]
    stopped = wait_until("the event", lambda: world.events("--container doze --kind lifecycle.stopped --since 10m"), 60, 2)[-1]
    lead = world.seconds_between(warned, stopped)
    assert lead >= 20, f"warned only {lead:.0f} s before"
    assert "doze" in world.inbox("student15")
    row.saw(f"warned {lead:.0f} s before the stop (promised: 20), and told why it was stopped")


@pytest.mark.requirement("NOTIFY-02")
def test_warned_before_the_end_of_the_runtime(world: World, row: Row) -> None:
    row.did("student16, for whom 30 minutes are 20 seconds, has a container that computes to the end of its runtime")
    world.start("student16", "ends", command="sh -c 'while :; do :; done'")
    wait_until("it is stopped", lambda: not world.running("ends"), 300, 2)
    warned = world.events("--container ends --kind lifecycle.warned --since 10m")[-1]
    stopped = wait_until("the event", lambda: world.events("--container ends --kind lifecycle.stopped --since 10m"), 60, 2)[-1]
    lead = world.seconds_between(warned, stopped)
    assert lead >= 20, f"warned only {lead:.0f} s before"
    row.saw(f"warned {lead:.0f} s before the stop (promised: 20)")


@pytest.mark.requirement("NOTIFY-03")
def test_told_at_eighty_percent(world: World, row: Row) -> None:
    row.did("student7, who may have four containers, makes a fourth")
    for number in range(4):
        world.start("student7", f"c{number}")
    text = wait_until("student7 is told", lambda: (got := world.inbox("student7")) and "container" in got and got, 120, 3)
    assert "4" in text, text
    row.saw("inbox: " + " ".join(text.split())[:200])


@pytest.mark.requirement("NOTIFY-04")
def test_terminal_and_file_in_the_container(world: World, row: Row) -> None:
    row.did("student15 sits at a terminal with an idle container of one static binary, without shell; the file of notices is read in it")
    single = world.server.import_image("single", "lab/single:1")
    argv = world.person("student15").new_session().argv("exec sleep 200")
    screen = subprocess.Popen([argv[0], "-tt", *argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        world.start("student15", "drowsy", command="/sleep 100000", image=single)
        wait_until("the warning", lambda: world.events("--container drowsy --kind lifecycle.warned --since 5m"), 200, 2)
        inside = wait_until("the file", lambda: world.root.run(f"cat /proc/{world.pid('drowsy')}/root/dev/shm/ds01-notice").out, 15, 1)
        wait_until("it is stopped", lambda: not world.running("drowsy"), 200, 2)
    finally:
        screen.terminate()
        shown = screen.communicate(timeout=30)[0]
    assert "drowsy" in inside
    assert "drowsy" in shown, shown
    row.saw("terminal: " + " ".join(shown.split())[:120] + "; file: " + " ".join(inside.split())[:120])
