# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The event log's kinds and schema as code and as documents: one and the same."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import jsonschema
import pytest

from ds01.core.event import KINDS, Event, line
from ds01.core.workload_schema import event_schema

ROOT = Path(__file__).resolve().parents[3]
_KIND = re.compile(r'"((?:[a-z_]+)\.[a-z]+)"')


def test_every_kind_is_documented_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.+) \|$", (ROOT / "docs" / "events.md").read_text(), re.MULTILINE)
    assert dict(rows) == dict(KINDS)
    assert [kind for kind, _ in rows] == list(KINDS)


def test_the_published_schemas_are_those_of_the_code() -> None:
    sys.path.insert(0, str(ROOT / "dev"))
    from write_schemas import texts

    for name, text in texts().items():
        assert (ROOT / "docs" / name).read_text() == text, "run: python dev/write_schemas.py"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_written_is_what_the_schema_says(kind: str) -> None:
    whole = Event(kind, 1.0, "alice", 1001, "train", "ab" * 32, ("GPU-1",), "ds01-gate", {"why": "x" * 5000})
    for event in (Event(kind, 1_790_000_000.5), whole):
        jsonschema.validate(json.loads(line(event)), event_schema())


def test_a_line_of_another_version_or_kind_is_none() -> None:
    good = json.loads(line(Event("claim.granted", 1.0)))
    for bad in ({**good, "v": 2}, {**good, "kind": "claim.lost"}, {**good, "time": "1970"}, {**good, "extra": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, event_schema())


def test_every_kind_has_a_writer() -> None:
    written: set[str] = set()
    for source in [*(ROOT / "files").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        if source.name != "event.py":
            written |= set(_KIND.findall(source.read_text()))
    assert set(KINDS) <= written
