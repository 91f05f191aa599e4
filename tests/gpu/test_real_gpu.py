# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a real driver says is understood: GPUs, memory, MIG profiles and their places, processes. Nothing is changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ds01 import nvml_mig
from ds01.core.cap_minors import parse_cap_minors
from ds01.core.devices_json import from_json, to_json
from ds01.core.mig_layout import HostLayout, parse_gpus
from ds01.core.mig_placement import legal_multisets
from ds01.core.mig_plan import plan_host
from ds01.core.mig_report import predicted, present
from ds01.nvml import CAP_MINORS, Nvml
from ds01.nvml_binding import NvmlNotFound, call
from ds01.nvml_processes import holders, processes


def test_inventory(nvml: Nvml) -> None:
    inventory = nvml.inventory()
    assert inventory.gpus
    assert from_json(json.loads(json.dumps(to_json(inventory)))) == inventory
    for gpu in inventory.gpus:
        assert gpu.uuid.startswith("GPU-")
        assert gpu.memory_mib > 1024
        assert gpu.healthy
        assert Path(f"/dev/nvidia{gpu.minor}").exists()
        assert call("nvmlDeviceGetUUID", nvml.handle(gpu.uuid)) == gpu.uuid
    assert len({g.uuid for g in inventory.gpus}) == len({g.minor for g in inventory.gpus}) == len(inventory.gpus)


def test_an_unknown_gpu_is_not_found(nvml: Nvml) -> None:
    with pytest.raises(NvmlNotFound):
        nvml.handle("GPU-00000000-0000-0000-0000-000000000000")


def test_profiles_and_places_make_sense(nvml: Nvml) -> None:
    for state in nvml.states():
        if not state.mig_capable or state.geometry is None:
            continue
        geometry = state.geometry
        assert len({p.name for p in geometry.profiles}) == len(geometry.profiles)
        for profile in geometry.profiles:
            assert profile.starts
            assert 0 < profile.max_count <= len(profile.starts)
            assert geometry.named(profile.name) == profile
            whole = geometry.by_compute(geometry.compute_slices)
        assert whole is not None
        assert whole.starts == (0,)
        assert (whole.id,) in legal_multisets(geometry)


def test_layouts_can_be_planned_without_being_applied(nvml: Nvml) -> None:
    gpus = nvml.states()
    assert not plan_host(HostLayout(), gpus).steps
    capable = [g for g in gpus if g.mig_capable and g.geometry is not None]
    for gpu in capable:
        plan = plan_host(parse_gpus([{"gpu": gpu.uuid, "layout": "all-1g"}]), gpus, force=True)
        assert not plan.problems
        assert predicted(gpus, plan)[gpu.index]["mode"] == "mig"
    assert present(nvml.states()) == present(gpus), "planning changed something"


def test_standing_instances_have_minors_and_uuids(nvml: Nvml) -> None:
    for gpu in nvml.inventory().gpus:
        for instance in gpu.instances:
            assert instance.mig_uuid.startswith("MIG-")
            assert Path(f"/dev/nvidia-caps/nvidia-cap{instance.gi_minor}").exists()
            assert Path(f"/dev/nvidia-caps/nvidia-cap{instance.ci_minor}").exists()


def test_the_table_of_minors_is_understood(nvml: Nvml) -> None:
    if not any(g.mig_capable for g in nvml.states()) or not CAP_MINORS.exists():
        assert not any(g.instances for g in nvml.inventory().gpus)
        return
    table = parse_cap_minors(CAP_MINORS.read_text(encoding="ascii"))
    assert table.instances
    assert set(table.instances) == {key[:2] for key in table.compute}


def test_no_switch_of_mode_is_pending(nvml: Nvml) -> None:
    for _, handle in nvml.handles():
        mode = nvml_mig.mode(handle)
        assert mode is None or mode[0] == mode[1]


def test_processes(nvml: Nvml) -> None:
    for _, handle in nvml.handles():
        found = processes(handle)
        assert len({(p.pid, p.gi_id, p.ci_id) for p in found}) == len(found)
        assert os.getpid() not in {p.pid for p in found}, "an NVML session is no process on the GPU"


def test_who_holds_a_gpu_open(nvml: Nvml) -> None:
    for _, handle in nvml.handles():
        minor = nvml.minor(handle)
        with open(f"/dev/nvidia{minor}", "rb"):
            assert os.getpid() in holders(minor)
