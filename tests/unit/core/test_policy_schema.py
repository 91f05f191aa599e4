# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The table of settings, the published JSON Schema, the reference, the example lab and ``core.limits`` say the same."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ds01.infra.tests.unit.core.policy_documents import GOOD, changed, without
from ansible_collections.ds01.infra.tests.unit.core.test_policy_check import SHAPE
from ds01.core import limits
from ds01.core.policy_check import check
from ds01.core.policy_reference import json_schema, json_schema_text, reference_markdown
from ds01.core.policy_schema import LIMITS, POLICY
from ds01.core.policy_shape import ShapeReader
from ds01.core.policy_types import Kind, Leaf, ListOf, MapOf, Record
from tests.search_effort import tries

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = yaml.safe_load((ROOT / "inventories/example/group_vars/all/policy.yml").read_text())["ds01_policy"]
VALIDATOR = jsonschema.Draft202012Validator(json_schema(), format_checker=jsonschema.FormatChecker())


def right_by_shape(document: object) -> bool:
    reader = ShapeReader()
    reader.read(POLICY, document, "")
    return not reader.problems


def test_the_published_schema_is_the_table() -> None:
    assert (ROOT / "docs/policy.schema.json").read_text() == json_schema_text(), "run: ds01 policy schema > docs/policy.schema.json"


def test_the_published_reference_is_the_table() -> None:
    mark = "a test holds it equal to core/policy_schema.py -->\n\n"
    assert (ROOT / "docs/policy.md").read_text().split(mark)[1] == reference_markdown(), "run: ds01 policy schema --markdown"


def test_the_schema_is_valid_itself() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


# What JSON Schema can't say: a date that doesn't exist, part of a byte, a number that is none.
BEYOND_JSON_SCHEMA = ("2030-02-30", "0.3B", "NaN")
SAYABLE = [row for row in SHAPE if not any(text in json.dumps(row[1]) for text in BEYOND_JSON_SCHEMA)]


@pytest.mark.parametrize(("path", "value"), [(row[0], row[1]) for row in SAYABLE], ids=[f"{row[2]}={row[1]!r}" for row in SAYABLE])
def test_json_schema_refuses_what_the_checker_refuses(path: str, value: Any) -> None:
    assert not VALIDATOR.is_valid(changed(path, value))


@pytest.mark.parametrize("key", ["version", "default_group", "groups"])
def test_json_schema_wants_the_same_keys(key: str) -> None:
    assert not VALIDATOR.is_valid(without(key))


@pytest.mark.parametrize("document", [GOOD, EXAMPLE, {"version": 1, "default_group": "a", "groups": {"a": None}}])
def test_json_schema_takes_what_the_checker_takes(document: dict[str, Any]) -> None:
    assert list(VALIDATOR.iter_errors(document)) == []
    assert right_by_shape(document)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


ODD = [
    None,
    True,
    0,
    -1,
    1,
    3,
    2.5,
    10**9,
    "",
    "x",
    "0",
    "1G",
    "1GB",
    "5m",
    "5",
    "1/7",
    "a b",
    "/data",
    "/etc/..",
    [],
    ["x"],
    [1, 1],
    {},
    {"x": 1},
]


def leaves(kind: Kind) -> Iterator[Leaf]:
    if isinstance(kind, Record):
        for field in kind.fields.values():
            yield from leaves(field.kind)
    elif isinstance(kind, MapOf):
        yield kind.key
        yield from leaves(kind.value)
    elif isinstance(kind, ListOf):
        yield from leaves(kind.item)
    else:
        yield kind


def parses(leaf: Leaf, value: Any) -> bool:
    try:
        leaf.parse(value)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("leaf", list(dict.fromkeys(leaves(POLICY))), ids=str)
def test_both_agree_on_every_odd_value_of_every_kind(leaf: Leaf) -> None:
    schema = jsonschema.Draft202012Validator(leaf.json_schema())
    assert [value for value in ODD if schema.is_valid(value) != parses(leaf, value)] == []


@tries(400)
@given(st.sampled_from([path for path in places(EXAMPLE) if path]), st.sampled_from(ODD))
def test_both_agree_on_any_odd_value_anywhere(path: tuple[Any, ...], value: Any) -> None:
    document = copy.deepcopy(EXAMPLE)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert VALIDATOR.is_valid(document) == right_by_shape(document), list(VALIDATOR.iter_errors(document))


def test_the_example_lab_is_good() -> None:
    assert check(EXAMPLE).problems == ()


def keys_shown(kind: Kind, value: Any) -> Iterator[tuple[int, str]]:
    """(record, key) for each setting that a document mentions."""
    if isinstance(kind, Record) and isinstance(value, dict):
        for name, item in value.items():
            yield id(kind), name
            yield from keys_shown(kind.fields[name].kind, item)
    elif isinstance(kind, (MapOf, ListOf)):
        for item in (value or {}).values() if isinstance(kind, MapOf) else value or []:
            yield from keys_shown(kind.value if isinstance(kind, MapOf) else kind.item, item)


def all_keys(kind: Kind) -> Iterator[tuple[int, str]]:
    if isinstance(kind, Record):
        for name, field in kind.fields.items():
            yield id(kind), name
            yield from all_keys(field.kind)
    elif isinstance(kind, MapOf):
        yield from all_keys(kind.value)
    elif isinstance(kind, ListOf):
        yield from all_keys(kind.item)


def test_the_example_lab_shows_every_setting() -> None:
    missing = set(all_keys(POLICY)) - set(keys_shown(POLICY, EXAMPLE))
    assert {name for _, name in missing} == set()


@pytest.mark.parametrize(
    ("block", "shape"),
    [
        ("gpu", limits.GpuLimits),
        ("container", limits.ContainerLimits),
        ("aggregate", limits.AggregateLimits),
        ("lifecycle", limits.LifecycleLimits),
    ],
)
def test_limits_have_the_keys_of_the_table(block: str, shape: type) -> None:
    kind = LIMITS.fields[block].kind
    assert isinstance(kind, Record)
    assert {field.name for field in dataclasses.fields(shape)} == set(kind.fields)
    # What may be null in the policy may be None in the program, and the other way round.
    for field in dataclasses.fields(shape):
        assert kind.fields[field.name].nullable == ("None" in str(field.type)), field.name
