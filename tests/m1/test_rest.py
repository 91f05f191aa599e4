# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""MIG, FIX, CICD and VALID."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.lab.server_access import ROOT, wait_until
from tests.m1.row import Row
from tests.m1.world import DENIED, World


def _layout(world: World) -> list[list[str]]:
    gpus = json.loads(world.root.must("ds01-mig show --json"))["gpus"]
    return [sorted(one["profile"] for one in gpu["instances"]) for gpu in gpus]


@pytest.mark.requirement("CICD-01")
def test_versions_from_commits(world: World, row: Row) -> None:
    row.did("the version that the commits ask for is computed offline; the release workflow is read")
    workflows = "".join(path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yml"))
    assert "make" in workflows
    settings = (ROOT / "pyproject.toml").read_text()
    assert "semantic_release" in settings and "CHANGELOG.md" in settings
    release = world.root.must("readlink /opt/ds01/current")
    assert release.strip()
    row.saw(f"semantic-release writes version, changelog and tag by CI; the server runs release {release.rsplit('/', 1)[-1]}")


@pytest.mark.requirement("MIG-01")
def test_a_declared_layout_changes_the_least(world: World, row: Row) -> None:
    row.did("student1 holds an instance of GPU 2; the admin converges another layout for GPU 2, and then the old one")
    before = _layout(world)
    world.start("student1", "holder", "--gpus all --label ds01.gpu=2g.10gb")
    held = world.claims()[0]["devices"][0]
    instances = [{"profile": "2g.10gb"}] + [{"profile": "1g.5gb"}] * 5
    other = [*({"gpu": number, "mode": "off"} for number in "01"), *({"gpu": number, "instances": instances} for number in "23")]
    changed = world.playbook("site.yml", "--tags", "mig", "-e", json.dumps({"mig_gpus": other}))
    after = _layout(world)
    assert world.running("holder")
    assert world.claims()[0]["devices"][0]["mig_uuid"] == held["mig_uuid"]
    assert held["mig_uuid"] in world.root.must("ds01-gpusim list")
    world.clear()
    back = world.playbook("site.yml", "--tags", "mig")
    assert back.code == 0, back.text[-2000:]
    assert _layout(world) == before
    what = "changed" if after != before else "refused"
    row.saw(f"exit {changed.code}; the held instance stays through it all ({what}); then the old layout is back")


@pytest.mark.requirement("MIG-02")
def test_full_and_partitioned_and_back_at_boot(world: World, row: Row) -> None:
    row.did("the instances are destroyed behind the platform's back, as a reboot does; the boot unit runs")
    before = _layout(world)
    assert before[0] == before[1] == [] and before[2] and before[3]
    assert world.root.must("systemctl is-enabled ds01-mig.service") == "enabled"
    world.root.must("ds01-gpusim reboot 2>/dev/null || true; systemctl restart ds01-mig.service")
    assert _layout(world) == before
    row.saw(f"GPU 0 and 1 full, GPU 2 and 3 {before[2]}; the same after the boot unit (a real reboot is VALID-01's)")


@pytest.mark.requirement("MIG-03")
def test_partition_on_demand(world: World, row: Row) -> None:
    row.did("the admin allows GPU 3 to be re-partitioned; students ask for more 1g.5gb than there are")
    before = _layout(world)
    help_text = world.root.must("ds01-mig --help")
    assert "repartition" in help_text, help_text
    world.root.must("ds01-mig repartition 3 1g.5gb,1g.5gb,1g.5gb,1g.5gb,1g.5gb,1g.5gb,1g.5gb")
    for number in range(1, 9):
        world.start(f"student{number}", f"small{number}", "--gpus all --label ds01.gpu=1g.5gb")
    assert len(world.claims()) == 8
    world.clear()
    back = world.playbook("site.yml", "--tags", "mig")
    assert back.code == 0 and _layout(world) == before
    row.saw("GPU 3 becomes seven 1g.5gb; eight students hold one each; a converge brings the declared layout back")


@pytest.mark.requirement("FIX-01")
def test_stats_filters(world: World, row: Row) -> None:
    row.did("student1 has two containers and asks for the statistics of one by filter")
    world.start("student1", "train-a")
    world.start("student1", "other-b")
    text = world.person("student1").must("ds01 container stats --filter name=train")
    assert "train-a" in text and "other-b" not in text, text
    row.saw("only the one that the filter names is shown")


@pytest.mark.requirement("FIX-02")
def test_names_with_spaces_and_shell_characters(world: World, row: Row) -> None:
    row.did("student1 builds an image called 'my image; touch /tmp/owned', described with quotes and $(…)")
    student = world.person("student1")
    described = 'a "first" image; $(touch /tmp/owned) ünï'
    name = shlex.quote("my image; touch /tmp/owned")
    made = student.run(f"ds01 image build {name} --base {world.image} --description {shlex.quote(described)} --yes", limit_s=400)
    assert "Traceback" not in made.text
    assert not world.root.run("ls /tmp/owned").ok, "a shell ran what was in a name"
    listed = student.must("ds01 image list --json")
    assert "first" in listed or not made.ok, listed
    row.saw(f"exit {made.code}, nothing was executed; " + " ".join((made.err or made.out).split())[:160])


@pytest.mark.requirement("FIX-03")
def test_update_offers_the_rebuild(world: World, row: Row) -> None:
    row.did("student1 builds an image, changes its definition, and is asked whether to build it again")
    student = world.person("student1")
    student.must(f"ds01 image build course --base {world.image}", limit_s=400)
    before = student.must("docker image inspect -f '{{.Id}}' student1/course")
    offered = student.run("ds01 image update course --description changed", limit_s=400)
    assert "build" in offered.text.lower(), offered.text
    student.must("ds01 image update course --description again --yes", limit_s=400)
    assert student.must("docker image inspect -f '{{.Id}}' student1/course") != before
    row.saw("the rebuild is offered: " + " ".join(offered.text.split())[:160])


@pytest.mark.requirement("FIX-04")
def test_the_wizard_lists_ones_images(world: World, row: Row) -> None:
    row.did("student1, who has an image, runs the set-up wizard at a terminal and leaves it")
    student = world.person("student1")
    student.must(f"ds01 image build mine --base {world.image}", limit_s=400)
    shown = world.typed("student1", "timeout --foreground -s INT 60 ds01 setup", ["", "", "", ""])
    assert "mine" in shown and "Traceback" not in shown, shown
    row.saw("the image is in the list")


@pytest.mark.requirement("VALID-01")
def test_all_of_it_on_one_host_that_reboots(world: World, row: Row) -> None:
    row.did("the server is rebooted with a container that restarts and one that does not; the platform is asked how it is")
    world.start("student1", "gone", "--gpus all")
    world.start("student2", "back", "--gpus all --restart unless-stopped")
    before = _layout(world)
    world.server.reboot()
    wait_until("the boot is finished", lambda: world.root.run("systemctl is-system-running").out.strip() in ("running", "degraded"), 300)
    failed = world.root.must("systemctl list-units --failed --no-legend --plain")
    assert failed == "", failed
    assert _layout(world) == before
    wait_until(
        "the container with a restart policy has its GPU again", lambda: [c["container"] for c in world.claims()] == ["back"], 180, 2
    )
    assert DENIED in world.person("student1").run("cat /dev/nvidia0").err
    # An emulated server has no time source and no receiver of alerts: both are said, neither has failed.
    health = wait_until("ds01 health finds no failure", lambda: "\n0 failed" in (r := world.root.run("ds01 health")).out and r, 180, 5)
    row.saw("no unit failed, layout and fence are there, 'back' has a GPU, 'gone' holds none; " + health.out.strip().splitlines()[-1])
