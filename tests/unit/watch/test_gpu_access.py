# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which GPUs an OCI spec opens: every way to ask for one ends in these rules."""

from __future__ import annotations

import pytest

from ds01.core.gpu_access import GpuAccess, gpu_access

DENY_ALL = {"allow": False, "access": "rwm"}


def spec(*rules: dict) -> dict:  # type: ignore[type-arg]
    return {"linux": {"resources": {"devices": [DENY_ALL, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}, *rules]}}}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((), GpuAccess()),
        (({"allow": True, "type": "c", "major": 195, "minor": 1},), GpuAccess(frozenset({1}))),
        (({"allow": True, "type": "c", "major": 195, "minor": 255},), GpuAccess()),
        (({"allow": True, "type": "c", "major": 195},), GpuAccess(every=True)),
        (({"allow": True, "type": "c", "major": 195, "minor": -1},), GpuAccess(every=True)),
        (({"allow": True, "access": "rwm"},), GpuAccess(every=True, privileged=True)),
        (({"allow": True, "type": "a"},), GpuAccess(every=True, privileged=True)),
        (({"allow": True, "type": "b"},), GpuAccess()),
        (({"allow": True, "type": "c"},), GpuAccess(every=True)),
        (({"allow": True, "type": "a"}, DENY_ALL), GpuAccess()),
        (({"allow": True, "type": "c", "major": 195, "minor": 1}, {"allow": False, "type": "c", "major": 195, "minor": 1}), GpuAccess()),
        (({"allow": True, "type": "c", "major": 507, "minor": 0},), GpuAccess()),
    ],
)
def test_what_the_rules_open(rules: tuple, expected: GpuAccess) -> None:  # type: ignore[type-arg]
    assert gpu_access(spec(*rules)) == expected
    assert expected.any is bool(expected.every or expected.minors)
    assert bool(expected.by) is expected.any


def test_a_spec_without_rules_opens_nothing() -> None:
    assert gpu_access({}) == GpuAccess()


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("NVIDIA_VISIBLE_DEVICES=all", GpuAccess(every=True, hook=True)),
        ("NVIDIA_VISIBLE_DEVICES=0,GPU-aa", GpuAccess(names=frozenset({"0", "GPU-aa"}), hook=True)),
        ("NVIDIA_VISIBLE_DEVICES=void", GpuAccess()),
        ("NVIDIA_VISIBLE_DEVICES=", GpuAccess()),
        ("XNVIDIA_VISIBLE_DEVICES=all", GpuAccess()),
    ],
)
def test_what_the_vendor_s_runtime_opens_at_the_start(variable: str, expected: GpuAccess) -> None:
    hook = {"prestart": [{"path": "/usr/bin/nvidia-container-runtime-hook", "args": ["nvidia-container-runtime-hook", "prestart"]}]}
    asked = {**spec(), "process": {"env": ["PATH=/bin", variable]}}
    assert gpu_access({**asked, "hooks": hook}) == expected
    assert gpu_access({**asked, "hooks": {"prestart": [{"path": "/usr/bin/other"}]}}) == GpuAccess(), "a variable alone opens nothing"
    assert gpu_access(asked) == GpuAccess()


def test_the_way_is_said() -> None:
    assert gpu_access(spec({"allow": True, "type": "a"})).by == "privileged"
    assert gpu_access(spec({"allow": True, "type": "c", "major": 195, "minor": 1})).by == "devices"
    assert GpuAccess(names=frozenset({"0"}), hook=True).by == "runtime"
    assert GpuAccess().by == ""


def test_to_make_a_node_is_not_to_open_it() -> None:
    assert gpu_access(spec({"allow": True, "type": "c", "access": "m"})) == GpuAccess()
