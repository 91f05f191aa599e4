# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The kinds of value that a policy is made of.

Leaves know how to ``parse`` a value (or raise ValueError saying what is allowed) and what they are in JSON Schema.
``Record``, ``MapOf`` and ``ListOf`` hold other kinds; ``policy_check`` walks them, so that all mistakes are found at once.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

from .durations import DURATION_ALLOWED, DURATION_PATTERN, parse_duration
from .quantities import SHARE_ALLOWED, SHARE_PATTERN, SIZE_ALLOWED, SIZE_PATTERN, parse_share, parse_size

DATE_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?)?$"


class Leaf(ABC):
    """A value without parts."""

    @abstractmethod
    def allowed(self) -> str:
        """What is allowed; completes the sentence "expected …"."""

    @abstractmethod
    def parse(self, value: object) -> Any:
        """The value as the programs use it; raises ValueError saying what is allowed."""

    @abstractmethod
    def json_schema(self) -> dict[str, Any]:
        """The same rule in JSON Schema, as far as that can say it."""


@dataclass(frozen=True)
class Size(Leaf):
    """Bytes."""

    def allowed(self) -> str:
        return SIZE_ALLOWED

    def parse(self, value: object) -> int:
        return parse_size(value)

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": SIZE_PATTERN}


@dataclass(frozen=True)
class Duration(Leaf):
    """Seconds."""

    def allowed(self) -> str:
        return DURATION_ALLOWED

    def parse(self, value: object) -> int:
        return parse_duration(value)

    def json_schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "pattern": DURATION_PATTERN}, {"const": 0}]}


@dataclass(frozen=True)
class Share(Leaf):
    """GPU-equivalents, exact."""

    def allowed(self) -> str:
        return SHARE_ALLOWED

    def parse(self, value: object) -> Any:
        return parse_share(value)

    def json_schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "number", "minimum": 0, "exclusiveMaximum": 1000000}, {"type": "string", "pattern": SHARE_PATTERN}]}


@dataclass(frozen=True)
class Integer(Leaf):
    """A whole number from ``low`` to ``high``."""

    low: int
    high: int

    def allowed(self) -> str:
        return str(self.low) if self.low == self.high else f"a whole number from {self.low} to {self.high}"

    def parse(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise ValueError(self.allowed())
        return int(value)

    def json_schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Number(Leaf):
    """A number from ``low`` to ``high``, of ``unit``."""

    low: float
    high: float
    unit: str = ""

    def allowed(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}" + (f" ({self.unit})" if self.unit else "")

    def parse(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            raise ValueError(self.allowed())
        return float(value)

    def json_schema(self) -> dict[str, Any]:
        return {"type": "number", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Boolean(Leaf):
    """true or false; "yes" in quotes is text."""

    def allowed(self) -> str:
        return "true or false"

    def parse(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError(self.allowed())
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Choice(Leaf):
    """One of a few words."""

    values: tuple[str, ...]

    def allowed(self) -> str:
        return "one of " + ", ".join(self.values) if len(self.values) > 1 else self.values[0]

    def parse(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.values:
            raise ValueError(self.allowed())
        return str(value)

    def json_schema(self) -> dict[str, Any]:
        return {"enum": list(self.values)}


@dataclass(frozen=True)
class Text(Leaf):
    """Text that matches ``pattern`` (anchored at both ends). ``words`` says so in words."""

    words: str
    pattern: str

    def allowed(self) -> str:
        return self.words

    def parse(self, value: object) -> str:
        if not isinstance(value, str) or re.search(self.pattern.removesuffix("$") + r"\Z", value) is None:
            raise ValueError(self.allowed())
        return str(value)

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": self.pattern}


@dataclass(frozen=True)
class Regex(Leaf):
    """A regular expression that the whole name must match."""

    def allowed(self) -> str:
        return "a regular expression that the whole name must match, such as '[0-9]{6}@example\\.org'"

    def parse(self, value: object) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError(self.allowed())
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{self.allowed()}; this one is not valid: {error}") from error
        return str(value)

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "regex", "minLength": 1}


@dataclass(frozen=True)
class Moment(Leaf):
    """A point in time, UTC where no offset is given. A date alone means the end of that day."""

    def allowed(self) -> str:
        return 'a date ("2027-03-31": to the end of that day, UTC) or a time ("2027-03-31T12:00:00Z")'

    def parse(self, value: object) -> datetime:
        if isinstance(value, str) and re.fullmatch(DATE_PATTERN[:-1], value):
            try:
                value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value.replace("Z", "+00:00"))
            except ValueError as error:
                raise ValueError(f"{self.allowed()}; {error}") from error
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
        if isinstance(value, date):
            return datetime.combine(value + timedelta(days=1), time.min, timezone.utc)
        raise ValueError(self.allowed())

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": DATE_PATTERN}


@dataclass(frozen=True)
class GpuName(Leaf):
    """A GPU by its index (nvidia-smi -L) or by its UUID."""

    def allowed(self) -> str:
        return "a GPU's index (0, 1, …) or its UUID (GPU-…), as nvidia-smi -L shows them"

    def parse(self, value: object) -> int | str:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255:
            return int(value)
        if isinstance(value, str) and re.fullmatch(r"GPU-[0-9a-fA-F-]{36}", value):
            return str(value)
        raise ValueError(self.allowed())

    def json_schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 255}, {"type": "string", "pattern": "^GPU-[0-9a-fA-F-]{36}$"}]}


@dataclass(frozen=True)
class Field:
    """One key of a record: its kind, what it means, and what holds when nobody sets it (``required``: somebody must).

    ``nullable``: null may be written; ``null_means`` says what it stands for.
    """

    kind: Kind
    doc: str
    default: Any = None
    required: bool = False
    nullable: bool = False
    null_means: str = "without limit"


@dataclass(frozen=True)
class Record:
    """A mapping with known keys. ``title`` is its heading in the documentation."""

    fields: Mapping[str, Field]
    title: str = ""


@dataclass(frozen=True)
class MapOf:
    """A mapping from names (``key``) to values of one kind. ``noun`` is what a key names."""

    noun: str
    key: Leaf
    value: Kind


@dataclass(frozen=True)
class ListOf:
    """A list of distinct values of one kind."""

    item: Kind


Kind = Leaf | Record | MapOf | ListOf
