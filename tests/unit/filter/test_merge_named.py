# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""merge_named: later lists win key by key, places stay, and mistakes are named."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ds01.infra.plugins.filter.merge_named import merge_named

ELEMENTS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abcde")}, optional={"uid": st.integers(), "groups": st.lists(st.text(max_size=2), max_size=2)}
    ),
    max_size=5,
    unique_by=lambda element: element["name"],
)


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ([[]], []),
        ([[{"name": "a", "uid": 1}], [{"name": "a", "shell": "x"}]], [{"name": "a", "uid": 1, "shell": "x"}]),
        (
            [[{"name": "a"}, {"name": "b"}], [{"name": "c"}, {"name": "a", "uid": 2}]],
            [{"name": "a", "uid": 2}, {"name": "b"}, {"name": "c"}],
        ),
        ([[{"name": "a", "l": {"x": 1, "y": 1}}], [{"name": "a", "l": {"y": 2}}]], [{"name": "a", "l": {"x": 1, "y": 2}}]),
        ([[{"name": "a", "g": [1, 2]}], [{"name": "a", "g": [3]}]], [{"name": "a", "g": [3]}]),
        ([[{"name": "a"}, {"name": "b"}], [{"name": "a", "state": "ignore"}]], [{"name": "b"}]),
        ([[{"name": "a", "uid": 1}], [{"name": "a", "state": "ignore"}], [{"name": "a", "uid": 3}]], [{"name": "a", "uid": 3}]),
        ([[{"name": "a", "state": "absent"}]], [{"name": "a", "state": "absent"}]),
    ],
)
def test_merging(lists: list[list[dict[str, Any]]], expected: list[dict[str, Any]]) -> None:
    assert merge_named(*lists) == expected


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([[{"uid": 1}]], "without a 'name'"),
        ([["a"]], "without a 'name'"),
        ([[{"name": "a"}, {"name": "a"}]], "twice"),
        ([{"name": "a"}], "list 1"),
    ],
)
def test_mistakes(lists: list[Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        merge_named(*lists)


@given(ELEMENTS, ELEMENTS, ELEMENTS)
def test_laying_over_is_associative_and_names_stay_unique(a: list[Any], b: list[Any], c: list[Any]) -> None:
    together = merge_named(a, b, c)
    assert together == merge_named(merge_named(a, b), c)
    assert len({element["name"] for element in together}) == len(together)


@given(ELEMENTS)
def test_laying_over_itself_changes_nothing(a: list[Any]) -> None:
    assert merge_named(a, a) == a
