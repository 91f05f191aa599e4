# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The table of settings as JSON Schema (for editors and other tools) and as the reference part of the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .policy_schema import LIMITS, POLICY, VERSION
from .policy_types import Duration, Field, Kind, Leaf, ListOf, MapOf, Record, Share, Size

_SHORT: dict[type, str] = {Size: "size", Duration: "duration", Share: "GPU-equivalents"}


def json_schema() -> dict[str, Any]:
    """The policy's shape as JSON Schema, draft 2020-12. What relates two settings to each other it cannot say."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"ds01_policy, version {VERSION}",
        **_schema(POLICY),
        "$defs": {"limits": _record_schema(LIMITS)},
    }


def json_schema_text() -> str:
    """The file docs/policy.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _schema(kind: Kind) -> dict[str, Any]:
    if kind is LIMITS:
        return {"$ref": "#/$defs/limits"}
    if isinstance(kind, Record):
        return _record_schema(kind)
    if isinstance(kind, MapOf):
        value = _schema(kind.value)
        if isinstance(kind.value, Record) and not any(field.required for field in kind.value.fields.values()):
            value = {"anyOf": [value, {"type": "null"}]}
        return {"type": "object", "propertyNames": kind.key.json_schema(), "additionalProperties": value}
    if isinstance(kind, ListOf):
        return {"type": "array", "items": _schema(kind.item), "uniqueItems": True}
    return kind.json_schema()


def _record_schema(record: Record) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "additionalProperties": False}
    required = [name for name, field in record.fields.items() if field.required]
    if required:
        schema["required"] = required
    schema["properties"] = {name: _field_schema(field) for name, field in record.fields.items()}
    return schema


def _field_schema(field: Field) -> dict[str, Any]:
    schema = _schema(field.kind)
    if field.nullable:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return {"description": field.doc + (f"; null: {field.null_means}" if field.nullable else ""), **schema}


def reference_markdown() -> str:
    """One table for every record of the policy: key, what it means, what is allowed, what holds when nobody sets it."""
    parts = []
    for record, where in _records(POLICY, ""):
        lines = [
            f"### {record.title}",
            "",
            f"`{where or 'ds01_policy'}`",
            "",
            _row("key", "meaning", "allowed", "when not set"),
            "|" + " --- |" * 4,
        ]
        lines += [_row(f"`{name}`", field.doc, _allowed(field), _unset(field)) for name, field in record.fields.items()]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _records(kind: Kind, where: str, seen: list[int] | None = None) -> Iterator[tuple[Record, str]]:
    seen = [] if seen is None else seen
    if isinstance(kind, MapOf):
        yield from _records(kind.value, f"{where}.<{kind.noun}>", seen)
    elif isinstance(kind, ListOf):
        yield from _records(kind.item, f"{where}[]", seen)
    elif isinstance(kind, Record) and id(kind) not in seen:
        seen.append(id(kind))
        yield kind, where.lstrip(".")
        for name, field in kind.fields.items():
            yield from _records(field.kind, f"{where}.{name}", seen)


def _allowed(field: Field) -> str:
    kind = field.kind
    if isinstance(kind, ListOf):
        text = f"a list, each {kind.item.allowed()}" if isinstance(kind.item, Leaf) else "a list of mappings, below"
    elif isinstance(kind, MapOf):
        text = f"a mapping from {kind.noun} to its settings, below"
    elif isinstance(kind, Record):
        text = "a mapping, below"
    else:
        text = _SHORT.get(type(kind)) or kind.allowed()
    return text + (f"; null: {field.null_means}" if field.nullable else "")


def _unset(field: Field) -> str:
    if field.required:
        return "must be set"
    if isinstance(field.kind, Record) or (field.default is None and not field.nullable):
        return ""
    return f"`{json.dumps(field.default)}`"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
