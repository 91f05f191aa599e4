# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The desired layout's document: round trip, and every kind of mistake named with its place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.mig_layout import (
    GpuLayout,
    HostLayout,
    LayoutError,
    WantedInstance,
    layout_to_json,
    named_profiles,
    parse_layout,
)
from tests.mig_models import A30, A100, H100

WANTED = st.builds(WantedInstance, st.sampled_from(["1g.5gb", "3g", "2g.10gb"]), st.none() | st.integers(0, 7))
ENTRY = st.one_of(
    st.builds(GpuLayout, gpu=st.just("x"), mig=st.just(False)),
    st.builds(GpuLayout, gpu=st.just("x"), mig=st.just(True), layout=st.sampled_from(["all-balanced", "all-1g", "all-7g"])),
    st.builds(GpuLayout, gpu=st.just("x"), mig=st.just(True), instances=st.lists(WANTED, max_size=7).map(tuple)),
)


@given(st.lists(ENTRY, max_size=4), st.booleans())
def test_what_is_written_is_what_is_read(entries: list[GpuLayout], purge: bool) -> None:
    named = tuple(GpuLayout(str(i), e.mig, e.layout, e.instances) for i, e in enumerate(entries))
    layout = HostLayout(named, purge)
    assert parse_layout(layout_to_json(layout)) == layout


def test_selectors() -> None:
    entries = [{"gpu": 0, "mode": "off"}, {"gpu": "01", "mode": "off"}, {"gpu": "GPU-a", "mode": "off"}, {"gpu": "all", "mode": "off"}]
    assert [e.gpu for e in parse_layout({"format": 1, "gpus": entries}).gpus] == ["0", "1", "GPU-a", "all"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "layout: is list"),
        ({"format": 2}, "format: is 2"),
        ({"format": 1, "gpu": []}, "layout: gpu not understood"),
        ({"format": 1, "purge": 1}, "purge: is 1"),
        ({"format": 1, "gpus": {}}, "gpus: is dict"),
        ({"format": 1, "gpus": [3]}, "gpus[0]: is int"),
    ],
)
def test_a_document_that_is_none(document: object, said: str) -> None:
    with pytest.raises(LayoutError) as caught:
        parse_layout(document)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"mode": "off"}, "gpus[0].gpu: is None"),
        ({"gpu": -1, "mode": "off"}, "gpus[0].gpu: is -1"),
        ({"gpu": True, "mode": "off"}, "gpus[0].gpu: is True"),
        ({"gpu": "MIG-1", "mode": "off"}, "gpus[0].gpu: is 'MIG-1'"),
        ({"gpu": "²", "mode": "off"}, "gpus[0].gpu"),
        ({"gpu": 0, "mode": "on"}, "gpus[0].mode: is 'on', expected mig or off"),
        ({"gpu": 0, "mode": "off", "layout": "all-1g"}, "mode off and layout exclude each other"),
        ({"gpu": 0, "mode": "off", "instances": [{"profile": "1g"}]}, "mode off and instances exclude each other"),
        ({"gpu": 0}, "exactly one of layout and instances"),
        ({"gpu": 0, "layout": "all-1g", "instances": []}, "exactly one of layout and instances"),
        ({"gpu": 0, "layout": "balanced"}, "gpus[0].layout: is 'balanced', expected one of all-balanced"),
        ({"gpu": 0, "layout": "all-0g"}, "gpus[0].layout"),
        ({"gpu": 0, "instances": "1g"}, "gpus[0].instances: is str"),
        ({"gpu": 0, "instances": ["1g"]}, "gpus[0].instances[0]: is str"),
        ({"gpu": 0, "instances": [{"profile": 19}]}, "gpus[0].instances[0].profile: is 19"),
        ({"gpu": 0, "instances": [{"profile": "1g", "start": "0"}]}, "gpus[0].instances[0].start: is '0'"),
        ({"gpu": 0, "instances": [{"profile": "1g", "start": True}]}, "gpus[0].instances[0].start: is True"),
        ({"gpu": 0, "instances": [{"profile": "1g", "count": 2}]}, "gpus[0].instances[0]: count not understood"),
    ],
)
def test_a_mistake_in_an_entry_is_named(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(LayoutError) as caught:
        parse_layout({"format": 1, "gpus": [entry]})
    assert said in str(caught.value)


def test_a_gpu_named_twice() -> None:
    with pytest.raises(LayoutError, match=r"gpus\[1\]\.gpu: 0 is named twice"):
        parse_layout({"format": 1, "gpus": [{"gpu": 0, "mode": "off"}, {"gpu": "0", "mode": "off"}]})


@pytest.mark.parametrize(
    ("geometry", "name", "profiles"),
    [
        (A100, "all-balanced", ["3g.20gb", "2g.10gb", "1g.5gb", "1g.5gb"]),
        (H100, "all-balanced", ["3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb"]),
        (A30, "all-balanced", ["2g.12gb", "1g.6gb", "1g.6gb"]),
        (A30, "all-1g", ["1g.6gb"] * 4),
        (A100, "all-1g", ["1g.5gb"] * 7),
        (A30, "all-3g", None),
        (A100, "all-9g", None),
    ],
)
def test_named_layouts_follow_the_gpu(geometry: Any, name: str, profiles: list[str] | None) -> None:
    found = named_profiles(name, geometry)
    assert (None if found is None else [p.name for p in found]) == profiles
