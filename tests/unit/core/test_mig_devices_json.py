# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The snapshot's JSON: nothing is lost on the way, and what is not a snapshot is refused by name."""

from __future__ import annotations

import copy
import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.devices import Gpu, Inventory, MigInstance
from ds01.core.devices_json import SnapshotError, from_json, to_json

NUMBER = st.integers(min_value=0, max_value=1 << 40)
TEXT = st.text(string.printable, max_size=20)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    gpus = []
    for index in range(draw(st.integers(0, 4))):
        uuid = f"GPU-{index}-{draw(TEXT)}"
        instances = tuple(
            MigInstance(uuid, draw(NUMBER), draw(NUMBER), draw(NUMBER), draw(TEXT), draw(NUMBER), draw(NUMBER), draw(NUMBER),
                        draw(NUMBER), draw(TEXT), draw(NUMBER), draw(NUMBER))
            for _ in range(draw(st.integers(0, 3)))
        )  # fmt: skip
        gpus.append(Gpu(uuid, index, draw(NUMBER), draw(TEXT), draw(NUMBER), draw(st.booleans()), draw(NUMBER), instances,
                        draw(st.booleans()), draw(TEXT)))  # fmt: skip
    return Inventory(tuple(gpus), draw(TEXT), draw(st.booleans()), draw(st.floats(min_value=0, max_value=1e11)))


@given(inventories())
def test_what_is_written_is_what_is_read(inventory: Inventory) -> None:
    assert from_json(json.loads(json.dumps(to_json(inventory)))) == inventory


def document() -> dict[str, Any]:
    instance = MigInstance("GPU-0", 2, 0, 9, "3g.20gb", 4, 4, 3, 19968, "MIG-1", 21, 22)
    gpu = Gpu("GPU-0", 0, 0, "NVIDIA A100", 40960, True, 7, (instance,))
    return to_json(Inventory((gpu,), "580.65.06-sim", True, 1.5))


def test_unknown_keys_of_a_newer_writer_are_ignored() -> None:
    newer = document()
    newer["gpus"][0]["temperature"] = 40
    assert from_json(newer).gpus[0].uuid == "GPU-0"


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("format",), 2, "format"),
        (("read_at",), True, "read_at"),
        (("gpus",), {}, "document.gpus"),
        (("gpus", 0, "uuid"), None, "gpus[0].uuid"),
        (("gpus", 0, "index"), True, "gpus[0].index"),
        (("gpus", 0, "mig_enabled"), 1, "gpus[0].mig_enabled"),
        (("gpus", 0, "instances", 0, "gi_minor"), "21", "gpus[0].instances[0].gi_minor"),
    ],
)
def test_a_wrong_value_is_named(path: tuple[Any, ...], value: object, named: str) -> None:
    broken = copy.deepcopy(document())
    target: Any = broken
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    with pytest.raises(SnapshotError) as caught:
        from_json(broken)
    assert named in str(caught.value)


def test_a_missing_key_is_named() -> None:
    broken = document()
    del broken["gpus"][0]["instances"][0]["ci_id"]
    with pytest.raises(SnapshotError, match=r"gpus\[0\]\.instances\[0\]\.ci_id: is missing"):
        from_json(broken)


@pytest.mark.parametrize("nonsense", [None, [], "x", 3])
def test_nonsense_is_refused(nonsense: object) -> None:
    with pytest.raises(SnapshotError):
        from_json(nonsense)
