# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""mig_partition on simulated GPUs: check, real and again; refusals that change nothing; the same keys in every mode."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ds01.infra.plugins.module_utils import nvml_binding
from ansible_collections.ds01.infra.plugins.modules import mig_partition
from ansible_collections.ds01.infra.tests.unit.modules.module_runs import Outcome, run_module
from ds01.core.cdi_spec import spec_for, to_text
from ds01.core.claim import Claim, ClaimedDevice
from ds01.devices_snapshot import load
from tests.mig_simulator import Simulator, gpu_uuid, start

KEYS = {"changed", "actions", "gpus", "displaced", "driver", "simulated", "diff"}
BALANCED = {"gpu": "all", "layout": "all-balanced"}


@pytest.fixture
def sim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    return start(tmp_path, monkeypatch.setenv)


def partition(sim: Simulator, *gpus: dict[str, Any], check: bool = False, **options: Any) -> Outcome:
    paths = {
        "lock": str(sim.paths.lock),
        "devices": str(sim.paths.devices),
        "cdi_base": str(sim.paths.cdi_base),
        "cap_minors": str(sim.paths.cap_minors),
        "policy": str(sim.paths.policy),
        "claims": str(sim.directory / "claims"),
        "claims_lock": str(sim.directory / "claims.lock"),
    }
    return run_module(mig_partition, {"gpus": list(gpus), "paths": paths, **options}, check=check)


def test_check_real_and_again_agree(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb", "gpu 1 model=h100-80gb")
    untouched = sim.state.read_text()
    check = partition(sim, {"gpu": "0", "mode": "off"}, BALANCED, check=True)
    assert sim.state.read_text() == untouched
    assert not sim.paths.devices.exists()
    real = partition(sim, {"gpu": "0", "mode": "off"}, BALANCED)
    again = partition(sim, {"gpu": "0", "mode": "off"}, BALANCED)
    check_again = partition(sim, {"gpu": "0", "mode": "off"}, BALANCED, check=True)
    assert (check.changed, real.changed, again.changed, check_again.changed) == (True, True, False, False)
    assert set(check.result) == set(real.result) == set(again.result) == KEYS
    assert check.result == real.result
    assert again.result["gpus"] == real.result["gpus"]
    assert again.result["diff"]["before"] == again.result["diff"]["after"] == real.result["diff"]["after"]
    assert sim.standing(1) == ["1g.10gb@2:1", "1g.10gb@3:1", "2g.20gb@0:2", "3g.40gb@4:3"]


def test_what_is_returned(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb mig_mode=1 mig_pending=1")
    result = partition(sim, {"gpu": gpu_uuid(0), "instances": [{"profile": "3g", "start": 0}]}).result
    assert result["actions"] == ["GPU 0: create 3g.20gb at 0", "publish the device snapshot"]
    assert result["simulated"] is True
    (gpu,) = result["gpus"]
    assert (gpu["mode"], gpu["pending"], gpu["model"]) == ("mig", "mig", "NVIDIA A100-PCIE-40GB")
    assert gpu["instances"] == [
        {
            "profile": "3g.20gb",
            "profile_id": 9,
            "start": 0,
            "size": 4,
            "compute_slices": 3,
            "memory_mib": 19968,
            "whole": True,
            "users": [],
        }
    ]
    key = f"GPU 0 ({gpu_uuid(0)})"
    assert result["diff"]["before"] == {key: [], "snapshot": "out of date"}
    assert result["diff"]["after"] == {key: ["3g.20gb@0"], "snapshot": "current"}


def test_gpus_that_are_not_named_are_left_alone_unless_purged(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb", "gpu 1 model=a100-40gb")
    partition(sim, {"gpu": "all", "layout": "all-7g"})
    assert not partition(sim, {"gpu": "0", "layout": "all-7g"}).changed
    purged = partition(sim, {"gpu": "0", "layout": "all-7g"}, purge=True)
    assert purged.result["actions"][:2] == ["GPU 1: destroy 7g.40gb at 0", "GPU 1: switch MIG off"]
    assert sim.mode(1) == ("0", "0")


def claim(sim: Simulator, damaged: bool = False) -> None:
    """A claim on the 3g instance, as the allocator writes it (or half of it)."""
    inventory = load(sim.paths.devices)
    gpu = inventory.gpus[0]
    instance = next(i for i in gpu.instances if i.profile == "3g.20gb")
    device = ClaimedDevice(
        instance.key, gpu.uuid, gpu.minor, gpu.equivalents(instance), instance.memory_mib, instance.profile, instance.gi_id,
        instance.ci_id, instance.mig_uuid,
    )  # fmt: skip
    held = Claim("c0123456789ab", 1000, "alice", "f" * 64, "train", "all", (device,), 1.0, "g1")
    text = to_text(spec_for(held, json.loads(sim.paths.cdi_base.read_text())))
    directory = sim.directory / "claims"
    directory.mkdir()
    (directory / "ds01-c0123456789ab.json").write_text(text[: len(text) * 3 // 4] if damaged else text)


def test_a_claimed_instance_is_displaced_only_by_force(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb")
    partition(sim, BALANCED)
    claim(sim)
    refused = partition(sim, {"gpu": "all", "layout": "all-1g"})
    assert refused.failed
    assert "claim c0123456789ab of alice (container train)" in refused.result["msg"]
    assert refused.result["problems"][0]["reason"] == "in_use"
    assert len(sim.standing()) == 4
    check = partition(sim, {"gpu": "all", "layout": "all-1g"}, force=True, check=True)
    real = partition(sim, {"gpu": "all", "layout": "all-1g"}, force=True)
    assert check.result["displaced"] == real.result["displaced"]
    assert "alice" in real.result["displaced"][0]
    assert len(sim.standing()) == 7


def test_a_damaged_claim_still_holds_what_it_names(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb")
    partition(sim, BALANCED)
    claim(sim, damaged=True)
    refused = partition(sim, {"gpu": "all", "layout": "all-1g"})
    assert refused.failed
    assert "the damaged claim file" in refused.result["msg"]
    assert len(sim.standing()) == 4


def test_a_layout_that_keeps_the_claimed_instance_is_fine(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb")
    partition(sim, BALANCED)
    claim(sim)
    three_and_small = {"gpu": "0", "instances": [{"profile": "3g"}, {"profile": "4g"}]}
    assert partition(sim, three_and_small).changed
    assert sim.standing() == ["3g.20gb@4:3", "4g.20gb@0:4"]


@pytest.mark.parametrize(
    ("entry", "reason", "said"),
    [
        ({"gpu": "7", "mode": "off"}, "no_such_gpu", "there are: 0"),
        ({"gpu": "0", "instances": [{"profile": "9g"}]}, "unknown_profile", "it has 1g.5gb"),
        ({"gpu": "0", "instances": [{"profile": "4g"}, {"profile": "4g"}]}, "does_not_fit", "doesn't fit"),
        ({"gpu": "0", "instances": [{"profile": "2g", "start": 1}]}, "unknown_start", "it can at 0, 2, 4"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_impossible_layouts_change_nothing(sim: Simulator, entry: dict[str, Any], reason: str, said: str, check: bool) -> None:
    sim.write("gpu 0 model=a100-40gb", "gpu 1 model=a100-40gb")
    untouched = sim.state.read_text()
    outcome = partition(sim, entry, BALANCED, check=check)
    assert outcome.failed
    assert outcome.result["problems"][0]["reason"] == reason
    assert said in outcome.result["msg"]
    assert sim.state.read_text() == untouched


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"gpu": "0", "mode": "off", "layout": "all-1g"}, "gpus[0]: mode off and layout exclude each other"),
        ({"gpu": "0"}, "gpus[0]: mode mig needs exactly one of layout and instances"),
        ({"gpu": "zero", "mode": "off"}, "gpus[0].gpu: is 'zero'"),
        ({"gpu": "0", "layout": "most"}, "gpus[0].layout: is 'most'"),
    ],
)
def test_malformed_options_are_named(sim: Simulator, entry: dict[str, Any], said: str) -> None:
    outcome = partition(sim, entry)
    assert outcome.failed
    assert said in outcome.result["msg"]


def test_a_failure_half_way_says_what_was_done(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb reset_blocked=1", "gpu 1 model=a100-40gb")
    outcome = partition(sim, {"gpu": "all", "layout": "all-7g"})
    assert outcome.failed
    assert "GPU 0: switch MIG on" in outcome.result["msg"]
    assert outcome.result["changed"] is True
    assert "GPU 1: create 7g.40gb at 0" in outcome.result["actions"]
    assert [g["mode"] for g in outcome.result["gpus"]] == ["off", "mig"]


def test_a_missing_generator_is_named(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    sim.write("gpu 0 model=a100-40gb")
    monkeypatch.setenv("PATH", os.path.dirname("/nonexistent/x"))
    outcome = partition(sim, {"gpu": "0", "mode": "off"})
    assert outcome.failed
    assert "ds01-gpusim: not installed" in outcome.result["msg"]


def test_a_missing_binding_is_named(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml_binding, "pynvml", None)
    outcome = partition(sim, BALANCED)
    assert outcome.failed
    assert "nvidia-ml-py" in outcome.result["msg"]
