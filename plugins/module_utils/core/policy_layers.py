# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Layers of settings laid over each other: the last that says something holds, and it is known which one that was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .policy_model import Layer
from .policy_schema import LIMITS
from .policy_shape import ShapeReader
from .policy_types import Record

BUILT_IN = "built-in"


@dataclass(frozen=True)
class Settings:
    """Every limits setting by dotted key, and by the same key the name of the layer that set it."""

    values: dict[str, Any]
    sources: dict[str, str]


def built_in() -> dict[str, Any]:
    """The values that hold when nobody sets them, from the table."""
    values: dict[str, Any] = {}
    reader = ShapeReader()
    for block, field in LIMITS.fields.items():
        if isinstance(field.kind, Record):
            parsed = reader.read(field.kind, {}, block)
            values.update({f"{block}.{name}": value for name, value in parsed.items()})
    if reader.problems:
        raise ValueError(f"a built-in value is not valid: {reader.problems[0].text('policy_schema.py')}")
    return values


def rank(source: str) -> int:
    """The place of a layer in the order of resolution, from its name in ``Settings.sources``."""
    first = source.split(".")[0].split("[")[0]
    return (BUILT_IN, "defaults", "groups", "users", "kinds").index(first)


def lay(layers: Iterable[tuple[str, Layer]]) -> Settings:
    """Lay (name, layer) over the built-in values, in the order given."""
    values = dict(_BUILT_IN)
    sources = dict.fromkeys(values, BUILT_IN)
    for name, layer in layers:
        for key, value in layer.items():
            values[key] = value
            sources[key] = name
    return Settings(values, sources)


_BUILT_IN = built_in()
