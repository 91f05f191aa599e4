# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The command ds01-mig on simulated GPUs: what it prints, its exit codes, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ds01_mig.__main__ import main

from ds01.devices_snapshot import load
from ds01.mig_apply import MigHost
from ds01.mig_claims import ClaimFiles
from tests.mig_simulator import Simulator


@pytest.fixture
def host(sim: Simulator) -> MigHost:
    sim.write("gpu 0 model=a100-40gb", "gpu 1 model=h100-80gb")
    return MigHost(sim.paths, ClaimFiles(sim.directory / "claims", sim.directory / "claims.lock"))


def layout_file(sim: Simulator, *gpus: dict[str, Any]) -> str:
    path = sim.directory / "mig.json"
    path.write_text(json.dumps({"format": 1, "gpus": list(gpus)}))
    return str(path)


def test_plan_apply_show(sim: Simulator, host: MigHost, capsys: pytest.CaptureFixture[str]) -> None:
    path = layout_file(sim, {"gpu": 0, "mode": "off"}, {"gpu": 1, "layout": "all-balanced"})
    assert main(["plan", "--layout", path, "--json"], host) == 0
    plan = json.loads(capsys.readouterr().out)
    assert sim.mode(1) == ("0", "0")
    assert main(["apply", "--layout", path, "--json"], host) == 0
    applied = json.loads(capsys.readouterr().out)
    assert applied == plan
    assert main(["show", "--json"], host) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["gpus"] == applied["gpus"]
    assert shown["published"] is True
    assert main(["apply", "--layout", path], host) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "nothing to do"
    assert main(["show"], host) == 0
    text = capsys.readouterr().out
    assert "(simulated GPUs)" in text
    assert "3g.40gb" in text


def test_impossible_layouts_end_with_3_and_change_nothing(sim: Simulator, host: MigHost, capsys: pytest.CaptureFixture[str]) -> None:
    path = layout_file(sim, {"gpu": 0, "instances": [{"profile": "4g"}, {"profile": "4g"}]}, {"gpu": 1, "layout": "all-7g"})
    before = sim.state.read_text()
    assert main(["apply", "--layout", path, "--json"], host) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["problems"][0]["reason"] == "does_not_fit"
    assert "doesn't fit" in captured.err
    assert sim.state.read_text() == before


def test_partial_is_for_the_boot(sim: Simulator, host: MigHost, capsys: pytest.CaptureFixture[str]) -> None:
    path = layout_file(sim, {"gpu": 0, "layout": "all-7g"}, {"gpu": 9, "layout": "all-7g"})
    assert main(["apply", "--layout", path, "--partial"], host) == 1
    assert sim.standing(0) == ["7g.40gb@0:7"]
    assert len(sim.published()) == 2
    assert "GPU 9: not on this host" in capsys.readouterr().err


def test_driver_failures_end_with_1_and_say_what_was_done(sim: Simulator, host: MigHost, capsys: pytest.CaptureFixture[str]) -> None:
    sim.write("gpu 0 model=a100-40gb reset_blocked=1", "gpu 1 model=h100-80gb")
    path = layout_file(sim, {"gpu": "all", "layout": "all-7g"})
    assert main(["apply", "--layout", path], host) == 1
    captured = capsys.readouterr()
    assert "GPU 1: create 7g.80gb at 0" in captured.out
    assert "GPU 0: switch MIG on" in captured.err


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "not JSON"), ('{"format": 1, "gpus": [{"gpu": 0}]}', "gpus[0]: mode mig needs exactly one"), (None, "No such file")],
)
def test_check_names_the_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, said: str) -> None:
    path = tmp_path / "mig.json"
    if content is not None:
        path.write_text(content)
    assert main(["check", "--layout", str(path)]) == 3
    error = capsys.readouterr().err
    assert str(path) in error
    assert said in error


def test_check_asks_no_gpu(tmp_path: Path) -> None:
    path = tmp_path / "mig.json"
    path.write_text('{"format": 1, "gpus": [{"gpu": 7, "layout": "all-balanced"}]}')
    assert main(["check", "--layout", str(path)]) == 0


def test_publish(sim: Simulator, host: MigHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "--json"], host) == 0
    assert json.loads(capsys.readouterr().out)["was_out_of_date"] is True
    assert main(["publish", "--json"], host) == 0
    assert json.loads(capsys.readouterr().out)["was_out_of_date"] is False
    assert len(sim.published()) == 2


def test_no_driver(sim: Simulator, host: MigHost, capsys: pytest.CaptureFixture[str]) -> None:
    sim.state.unlink()
    assert main(["show"], host) == 1
    assert "kernel module isn't loaded" in capsys.readouterr().err


def test_pools_come_from_the_policy_and_stay_without_a_valid_one(sim: Simulator, host: MigHost) -> None:
    def pools() -> list[str]:
        assert main(["publish"], host) == 0
        return [g.pool for g in load(sim.paths.devices).gpus]

    assert pools() == ["interactive", "interactive"]
    policy = {"version": 1, "default_group": "student", "groups": {"student": {"priority": 1}}, "pools": {"batch": {"gpus": [1]}}}
    sim.paths.policy.write_text(json.dumps(policy))
    assert pools() == ["interactive", "batch"]
    sim.paths.policy.write_text("{ not a policy")
    assert pools() == ["interactive", "batch"]
