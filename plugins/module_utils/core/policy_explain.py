# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A person's limits as rows for people: setting, value in human units, which rule set it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from .durations import format_duration
from .limits import Limits
from .policy_schema import LIMITS
from .policy_types import Duration, Kind, Record, Share, Size
from .quantities import format_share, format_size


@dataclass(frozen=True)
class Row:
    """One setting. ``value`` is for people, ``raw`` for programs (bytes, seconds, numbers, text of a share, None)."""

    key: str
    value: str
    raw: Any
    set_by: str


def rows(limits: Limits) -> tuple[Row, ...]:
    """Every setting of a person in the order of the reference, first who they are to the policy."""
    facts = [
        Row("group", limits.group, limits.group, _set_by(limits.sources.get("group", ""))),
        Row("priority", str(limits.priority), limits.priority, _set_by(limits.sources.get("priority", ""))),
        Row("admin", _yes(limits.admin), limits.admin, _set_by(limits.sources.get("admin", ""))),
        Row("bare_metal", _yes(limits.bare_metal), limits.bare_metal, _set_by(limits.sources.get("bare_metal", ""))),
    ]
    values = {block: asdict(getattr(limits, block)) for block in LIMITS.fields}
    for block, field in LIMITS.fields.items():
        for name, setting in field.kind.fields.items() if isinstance(field.kind, Record) else ():
            key, value = f"{block}.{name}", values[block][name]
            text = setting.null_means if value is None else _text(setting.kind, value)
            facts.append(Row(key, text, _raw(value), _set_by(limits.sources.get(key, ""))))
    facts += [
        Row("bind_roots", f"{root.path} ({'rw' if root.writable else 'ro'})", asdict(root), "bind_roots") for root in limits.bind_roots
    ]
    return tuple(facts)


def is_particular(row: Row) -> bool:
    """Whether something other than the built-in values and the defaults set this row: what an admin looks for first."""
    return row.set_by.startswith(("group ", "user ", "kind ", "exemption "))


def _text(kind: Kind, value: Any) -> str:
    if isinstance(kind, Size):
        return format_size(value)
    if isinstance(kind, Duration):
        return format_duration(value)
    if isinstance(kind, Share):
        return format_share(value)
    if isinstance(value, bool):
        return _yes(value)
    if isinstance(value, (tuple, list)):
        return ", ".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _raw(value: Any) -> Any:
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else str(value)
    return list(value) if isinstance(value, tuple) else value


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _set_by(source: str) -> str:
    for prefix, noun in (("groups.", "group "), ("users.", "user "), ("kinds.", "kind ")):
        if source.startswith(prefix):
            return noun + source.removeprefix(prefix)
    if source.startswith("users["):
        return "user " + source.removeprefix('users["').removesuffix('"]')
    return source
