# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Tables of the fields a JSON body may have, and the reading of a body by such a table.

What a table does not know is dropped when it says nothing (null, false, 0, "", [], {}) and refused by name otherwise: clients send every
field they know, and a field that this server has not heard of must not mean anything. Keys get their canonical case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ..refusal import Refusal
from .verdict import Stop


class Kind(Enum):
    """JSON type of a field. WORDS also takes one string (dockerd's strslice). SET is an object whose values are empty objects."""

    TEXT = "a string"
    FLAG = "true or false"
    INTEGER = "an integer"
    INTEGERS = "a list of integers of 0 or more"
    TEXTS = "a list of strings"
    WORDS = "a list of strings or one string"
    SET = "an object with an empty object for each name"
    TEXT_MAP = "an object of strings"
    OBJECT = "an object"
    OBJECTS = "a list of objects"
    OBJECT_MAP = "an object of objects"
    OBJECT_LIST_MAP = "an object of lists of objects"
    ANY = "anything"


class Treatment(Enum):
    """TAKE: read, checked and kept for a rule or as it is. DROP: never forwarded and meaningless here. DENY: refused unless zero.
    DENY_SET: refused unless null, because even an empty value changes something."""

    TAKE = "take"
    DROP = "drop"
    DENY = "deny"
    DENY_SET = "deny_set"


@dataclass(frozen=True)
class Field:
    """One field. ``table`` describes the objects inside. ``keep_zero``: a zero value differs from an absent one.

    ``why`` and ``instead`` are the words of a denial.
    """

    kind: Kind
    treatment: Treatment = Treatment.TAKE
    table: Table | None = None
    keep_zero: bool = False
    why: str = ""
    instead: str = ""


@dataclass(frozen=True)
class Table:
    """The fields of one kind of object, by canonical name."""

    fields: Mapping[str, Field]
    folded: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folded", {name.lower(): name for name in self.fields})


def read(body: Any, table: Table, path: str = "") -> dict[str, Any]:
    """The fields of ``body`` that are taken, under canonical names.

    Raises ``Stop`` (400: unknown, wrong type) or ``Refusal`` (403: denied).
    """
    if not isinstance(body, dict):
        raise _wrong(path or "the body", Kind.OBJECT, body)
    taken: dict[str, Any] = {}
    for key, value in body.items():
        name = key if key in table.fields else table.folded.get(key.lower())
        if name is None:
            if not value:
                continue
            message = "Leave it out; what is allowed is listed in the documentation of the gate."
            raise Stop(400, f"field {_place(path, key)} is not allowed on this server. {message}", "unknown-field")
        known = table.fields[name]
        treatment = known.treatment
        if value is None or (not value and not known.keep_zero and treatment is not Treatment.DENY_SET) or treatment is Treatment.DROP:
            continue
        if treatment is not Treatment.TAKE:
            raise denied(_place(path, name), value, known)
        taken[name] = _value(value, known, _place(path, name))
    return taken


def check_count(items: Sized, most: int, place: str) -> None:
    """400 for more than ``most`` items: each of them costs the server a look-up, a mount or a process."""
    if len(items) > most:
        raise Stop(400, f"{place} has {len(items)} items; at most {most} are accepted.", "too-many")


def _place(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def denied(place: str, value: Any, known: Field) -> Refusal:
    """The refusal of a field that nobody may set."""
    shown = ascii(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return Refusal(
        f"{place} = {shown} is refused",
        known.why or "it reaches beyond the container, to the host or to other people's work",
        known.instead or "Leave it out.",
        rule=f"field-{place.rpartition('.')[2].lower()}",
    )


def _wrong(place: str, kind: Kind, value: Any) -> Stop:
    return Stop(400, f"{place} is {ascii(value)[:60]}; expected {kind.value}.", "wrong-type")


def _value(value: Any, known: Field, place: str) -> Any:
    kind = known.kind
    if kind is Kind.TEXT or kind is Kind.FLAG or kind is Kind.INTEGER:
        if type(value) is not (str if kind is Kind.TEXT else bool if kind is Kind.FLAG else int):
            raise _wrong(place, kind, value)
        return value
    if kind is Kind.ANY:
        return value
    if kind is Kind.TEXTS or kind is Kind.WORDS:
        if kind is Kind.WORDS and isinstance(value, str):
            return [value]
        return _list(value, str, kind, place)
    if kind is Kind.INTEGERS:
        numbers = _list(value, int, kind, place)
        if any(number < 0 for number in numbers):
            raise _wrong(place, kind, value)
        return numbers
    if kind is Kind.OBJECTS:
        return _objects(value, known, place)
    if not isinstance(value, dict):
        raise _wrong(place, kind, value)
    if kind is Kind.OBJECT:
        return _object(value, known, place)
    if kind is Kind.OBJECT_MAP:
        return {key: _object(item or {}, known, f"{place}[{key!r}]") for key, item in value.items()}
    if kind is Kind.OBJECT_LIST_MAP:
        return {key: _objects(item or [], known, f"{place}[{key!r}]") for key, item in value.items()}
    wanted = str if kind is Kind.TEXT_MAP else dict
    for key, item in value.items():
        if type(item) is not wanted and not (item is None and wanted is dict):
            raise _wrong(f"{place}[{key!r}]", Kind.TEXT if wanted is str else Kind.OBJECT, item)
        if wanted is dict and item:
            raise _wrong(f"{place}[{key!r}]", kind, item)
    return {key: item if wanted is str else {} for key, item in value.items()}


def _list(value: Any, item_type: type, kind: Kind, place: str) -> list[Any]:
    if not isinstance(value, list) or any(type(item) is not item_type for item in value):
        raise _wrong(place, kind, value)
    return list(value)


def _object(value: Any, known: Field, place: str) -> dict[str, Any]:
    return read(value, known.table or Table({}), place)


def _objects(value: Any, known: Field, place: str) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise _wrong(place, known.kind, value)
    return [_object(item, known, f"{place}[{index}]") for index, item in enumerate(value)]
