# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Reads a document against the table of settings: parsed values, or every mistake with its key.

What comes back is a tree of plain values by key. Absent keys are filled from the table, except inside a limits block, where absent means
that this layer says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from .policy_problems import Problem, shown, suggestion
from .policy_schema import LIFECYCLE, LIMITS
from .policy_types import Field, Kind, Leaf, ListOf, MapOf, Record

MISSING = object()


class ShapeReader:
    """One pass over a document. ``problems`` collects what is wrong; parts that are wrong are left out of the result."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def read(self, kind: Kind, value: object, key: str) -> Any:
        """The parsed value, or ``MISSING`` after a problem was noted."""
        if isinstance(kind, Record):
            return self._record(kind, value, key)
        if isinstance(kind, MapOf):
            return self._map(kind, value, key)
        if isinstance(kind, ListOf):
            return self._list(kind, value, key)
        return self._leaf(kind, value, key)

    def _problem(self, key: str, value: object, message: str) -> Any:
        self.problems.append(Problem(key, "" if value is MISSING else shown(value), message))
        return MISSING

    def _leaf(self, kind: Leaf, value: object, key: str) -> Any:
        try:
            return kind.parse(value)
        except ValueError as error:
            return self._problem(key, value, f"expected {error}")

    def _record(self, record: Record, value: object, key: str) -> Any:
        if not isinstance(value, Mapping):
            return self._problem(key, value, f"expected a mapping with the keys {', '.join(record.fields)}")
        if record is LIMITS:
            return self._layer(value, key)
        for name in value:
            if name not in record.fields:
                self._unknown(name, record, key)
        parsed = {name: self._field(field, value.get(name, MISSING), join(key, name)) for name, field in record.fields.items()}
        return {name: item for name, item in parsed.items() if item is not MISSING}

    def _unknown(self, name: object, record: Record, key: str) -> None:
        hint = suggestion(str(name), record.fields)
        self._problem(join(key, str(name)), MISSING, f"there is no such key{hint or '; known here: ' + ', '.join(record.fields)}")

    def _field(self, field: Field, value: object, key: str) -> Any:
        if value is MISSING:
            if field.required:
                return self._problem(key, MISSING, f"must be set: {field.doc}; expected {expected(field)}")
            if isinstance(field.kind, Record):
                return {} if field.kind is LIMITS or field.kind is LIFECYCLE else self.read(field.kind, {}, key)
            return None if field.default is None else self.read(field.kind, field.default, key)
        if value is None:
            return None if field.nullable else self._problem(key, None, f"null is not possible here; expected {expected(field)}")
        return self.layer_of(field.kind, value, key) if field.kind is LIFECYCLE else self.read(field.kind, value, key)

    def _layer(self, value: Mapping[Any, Any], key: str) -> dict[str, Any]:
        layer: dict[str, Any] = {}
        for name, block in value.items():
            if name not in LIMITS.fields:
                self._unknown(name, LIMITS, key)
                continue
            part = self.layer_of(LIMITS.fields[name].kind, block, join(key, name))
            if part is not MISSING:
                layer.update({f"{name}.{setting}": item for setting, item in part.items()})
        return layer

    def layer_of(self, kind: Kind, value: object, key: str) -> Any:
        """One block of limits: only what stands there, by its key within the block."""
        if not isinstance(kind, Record) or not isinstance(value, Mapping):
            return self._problem(key, value, f"expected {described(kind)}")
        part = {}
        for name, item in value.items():
            field = kind.fields.get(name)
            if field is None:
                self._unknown(name, kind, key)
                continue
            parsed = self._field(field, item, join(key, name))
            if parsed is not MISSING:
                part[str(name)] = parsed
        return part

    def _map(self, kind: MapOf, value: object, key: str) -> Any:
        if not isinstance(value, Mapping):
            return self._problem(key, value, f"expected {described(kind)}")
        result = {}
        for name, item in value.items():
            if not isinstance(name, str):
                self._problem(join(key, str(name)), name, f"the name of a {kind.noun} is text; put it in quotes")
                continue
            parsed_name = self._leaf(kind.key, name, join(key, str(name)))
            # A name with nothing below it (``alice:``) says that the name exists and that nothing differs.
            parsed = self.read(kind.value, {} if item is None else item, join(key, str(name)))
            if parsed_name is not MISSING and parsed is not MISSING:
                result[parsed_name] = parsed
        return result

    def _list(self, kind: ListOf, value: object, key: str) -> Any:
        if not isinstance(value, (list, tuple)):
            return self._problem(key, value, f"expected {described(kind)}")
        result: list[Any] = []
        for index, item in enumerate(value):
            parsed = self.read(kind.item, item, f"{key}[{index}]")
            if parsed is MISSING:
                continue
            if parsed in result:
                self._problem(f"{key}[{index}]", item, "stands here twice; expected each once")
            result.append(parsed)
        return result


def join(key: str, name: str) -> str:
    """Dotted key; a name with dots in it is put into brackets: ``users["j.doe"]``."""
    part = name if "." not in name and "[" not in name else f'["{name}"]'
    return part if not key else f"{key}{part}" if part.startswith("[") else f"{key}.{part}"


def described(kind: Kind) -> str:
    """What is allowed, in words."""
    if isinstance(kind, Record):
        return f"a mapping with the keys {', '.join(kind.fields)}"
    if isinstance(kind, MapOf):
        return f"a mapping from {kind.noun} names to settings"
    if isinstance(kind, ListOf):
        return f"a list, each {described(kind.item)}"
    return kind.allowed()


def expected(field: Field) -> str:
    """What a field takes, in words."""
    return described(field.kind) + (f", or null ({field.null_means})" if field.nullable else "")


def plain(kind: Kind, value: Any) -> Any:
    """The document as it stands, in the order of the table, with dates as text: what goes into policy.json. It must have been checked."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(kind, Record) and value is not None:
        return {name: plain(field.kind, value[name]) for name, field in kind.fields.items() if name in value}
    if isinstance(kind, MapOf) and value is not None:
        return {str(name): plain(kind.value, {} if item is None else item) for name, item in value.items()}
    if isinstance(kind, ListOf) and value is not None:
        return [plain(kind.item, item) for item in value]
    return value
