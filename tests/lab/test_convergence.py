# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The play is honest and gentle: a second run and a check change nothing, a change stops no container, what is wrong is refused first."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.lab.playbook import play
from tests.lab.server_access import ROOT_DOCKER_SOCKET, Account, Lab

AsUser = Callable[[str], Account]
ROOT_DOCKER = f"docker -H unix://{ROOT_DOCKER_SOCKET}"
BUDGET = 60


def test_a_check_after_the_converge_would_change_nothing_within_the_budget(server: Lab) -> None:
    run = play(server.name, "--check")
    assert run.code == 0, run.text[-4000:]
    assert run.changed == ()
    assert 0 < run.module_runs <= BUDGET, run.module_runs
    print(f"\ncheck: {run.module_runs} module runs, {run.seconds:.0f} s; dearest: {run.dearest}")


@pytest.mark.slow
def test_a_changed_setting_restarts_what_it_must_and_stops_nobody_s_container(
    server: Lab, as_user: AsUser, lab: Account, busybox: str
) -> None:
    as_user("student4").must(f"docker run -d --name steady --gpus all {busybox} sleep 100000")
    before = lab.must(f"{ROOT_DOCKER} inspect -f '{{{{.State.StartedAt}}}}' steady")
    changed = json.dumps({"gate_drain_seconds": 14, "docker_log_max_files": 4})
    try:
        run = play(server.name, "--tags", "docker,gate", "-e", changed)
        assert run.code == 0, run.text[-4000:]
        assert run.changed, "nothing was changed by another setting"
        assert lab.must(f"{ROOT_DOCKER} inspect -f '{{{{.State.StartedAt}}}} {{{{.State.Running}}}}' steady") == f"{before} true"
        assert as_user("student4").must("docker exec steady echo alive") == "alive"
    finally:
        back = play(server.name, "--tags", "docker,gate")
        lab.must(f"{ROOT_DOCKER} rm -f steady")
    assert back.code == 0, back.text[-4000:]


BROKEN = {
    "a misspelt key": ("{'defaults': {'gpu': {'equivalent': 2}}}", "equivalent"),
    "a size without a unit": ("{'defaults': {'container': {'memory': 'lots'}}}", "memory"),
    "an unknown group": ("{'users': {'student1': {'group': 'studnets'}}}", "studnets"),
    "no version": ("{'version': none}", "version"),
}


@pytest.mark.parametrize(("change", "named"), BROKEN.values(), ids=list(BROKEN))
def test_a_broken_policy_is_refused_by_name_and_nothing_is_changed(server: Lab, lab: Account, change: str, named: str) -> None:
    before = lab.must("sha256sum /etc/ds01/policy.json")
    broken = "{{ ds01_policy | combine(" + change + ", recursive=true) }}"
    run = play(server.name, "-e", json.dumps({"policy_document": broken}))
    assert run.code != 0
    assert run.changed == ()
    assert named in run.text
    assert lab.must("sha256sum /etc/ds01/policy.json") == before


def test_an_impossible_mig_layout_is_refused_with_what_would_fit(server: Lab, lab: Account) -> None:
    before, kept = lab.must("ds01-mig show --json"), lab.must("sha256sum /etc/ds01/mig.json")
    layout = [{"gpu": "2", "instances": [{"profile": "4g.20gb"}, {"profile": "4g.20gb"}]}]
    run = play(server.name, "--tags", "mig", "-e", json.dumps({"mig_gpus": layout}))
    assert run.code != 0
    assert "4g.20gb" in run.text
    assert lab.must("ds01-mig show --json") == before
    assert lab.must("sha256sum /etc/ds01/mig.json") == kept, "the next boot would take the layout that was refused"


def test_an_unsupported_distribution_is_refused_first(server: Lab, lab: Account) -> None:
    kept = lab.must("cat /etc/os-release")
    lab.put("/etc/os-release", kept.replace("Debian", "Slackware").replace("ID=debian", "ID=slackware"))
    try:
        run = play(server.name)
    finally:
        lab.put("/etc/os-release", kept + "\n")
    assert run.code != 0
    assert run.changed == ()
    assert "Debian 12" in run.text


def test_a_missing_driver_is_said(server: Lab) -> None:
    run = play(server.name, "--tags", "gpu", "-e", '{"ds01_gpu_simulated": false}')
    assert run.code != 0
    assert run.changed == ()
    assert "driver" in run.text.lower()
