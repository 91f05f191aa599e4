# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The guard's JSON says what ``json`` says, and takes nothing that ``json`` refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.oci_json import read_json, write_json

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES)
def test_it_writes_and_reads_what_json_does(value: Any) -> None:
    assert write_json(value) == json.dumps(value)
    assert read_json(f" \n{json.dumps(value, ensure_ascii=False)}\t") == value


@given(st.text(alphabet='{}[]",:0123456789.eE+-\\u \n\x00tfnalsrue\ufeff', max_size=12))
def test_it_takes_and_refuses_what_json_does(text: str) -> None:
    try:
        expected = json.loads(text)
    except json.JSONDecodeError:
        with pytest.raises(ValueError):
            read_json(text)
    else:
        assert read_json(text) == expected


@pytest.mark.parametrize(
    "text", ["", " ", "{", '{"a":}', "{} {}", '{"a":1,}', "NaN", "[Infinity]", "-Infinity", '"\n"', "\ufeff{}", "\xa0{}"]
)
def test_what_is_no_json_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        read_json(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_what_json_cannot_say_is_not_written(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        write_json({"a": value})
