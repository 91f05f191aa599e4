# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A model of Go's encoding/json as dockerd uses it, written from its documentation and source and independent of the gate's parser.

``parse`` keeps every member of an object in its order, ``Type.decode`` puts a value into a Go variable: a key matches a field exactly or by
simple folding (where ſ is s and K is k), a second member of that name goes into what the first left (objects are merged, lists keep stale
fields of their elements), null empties pointers, lists and maps and leaves everything else, unknown keys are passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    rb'[ \t\r\n]*(?:(?P<mark>[{}\[\],:])|"(?P<text>(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)"'
    rb"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(?P<word>true|false|null))"
)
_SPACE = re.compile(rb"[ \t\r\n]*")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS = {b"true": True, b"false": False, b"null": None}
_INTEGER = re.compile(rb"-?[0-9]+")
_MAX_DEPTH = 500


class GoError(Exception):
    """dockerd would answer 400 (or the nesting is deeper than this model goes)."""


class Members(list[tuple[str, Any]]):
    """An object: its members in order, duplicates included."""


@dataclass(frozen=True)
class Number:
    """A number as written."""

    text: bytes


def parse(raw: bytes) -> Any:
    """The one value in ``raw``. Raises GoError."""
    value, at = _value(raw, 0, 0)
    space = _SPACE.match(raw, at)
    if space is None or space.end() != len(raw):
        raise GoError("something follows the value")
    return value


def _next(raw: bytes, at: int) -> tuple[str, bytes, int]:
    match = _TOKEN.match(raw, at)
    if match is None or match.lastgroup is None:
        raise GoError(f"invalid character at {at}")
    return match.lastgroup, match[match.lastgroup], match.end()


def _value(raw: bytes, at: int, depth: int) -> tuple[Any, int]:
    kind, text, at = _next(raw, at)
    return _rest(kind, text, raw, at, depth)


def _rest(kind: str, text: bytes, raw: bytes, at: int, depth: int) -> tuple[Any, int]:
    if kind == "text":
        return unquote(text), at
    if kind == "number":
        return Number(text), at
    if kind == "word":
        return _WORDS[text], at
    if depth >= _MAX_DEPTH:
        raise GoError("exceeded max depth")
    if text == b"{":
        return _object(raw, at, depth + 1)
    if text == b"[":
        return _list(raw, at, depth + 1)
    raise GoError(f"unexpected {text!r}")


def _list(raw: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    kind, text, at = _next(raw, at)
    if kind == "mark" and text == b"]":
        return items, at
    while True:
        item, at = _rest(kind, text, raw, at, depth)
        items.append(item)
        kind, text, at = _next(raw, at)
        if kind != "mark" or text not in (b",", b"]"):
            raise GoError("expected , or ]")
        if text == b"]":
            return items, at
        kind, text, at = _next(raw, at)


def _object(raw: bytes, at: int, depth: int) -> tuple[Members, int]:
    members = Members()
    kind, text, at = _next(raw, at)
    if kind == "mark" and text == b"}":
        return members, at
    while True:
        if kind != "text":
            raise GoError("expected a key")
        key = unquote(text)
        kind, text, at = _next(raw, at)
        if kind != "mark" or text != b":":
            raise GoError("expected a colon")
        value, at = _value(raw, at, depth)
        members.append((key, value))
        kind, text, at = _next(raw, at)
        if kind != "mark" or text not in (b",", b"}"):
            raise GoError("expected , or }")
        if text == b"}":
            return members, at
        kind, text, at = _next(raw, at)


def unquote(raw: bytes) -> str:
    """The text between the quotes: invalid UTF-8 and half surrogate pairs become U+FFFD."""
    text = raw.decode("utf-8", "replace")
    if "\\" not in text:
        return text
    text = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _SHORT.get(m[2], m[2]), text)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def fold(key: str) -> str:
    """encoding/json's foldName, for the letters that fold onto ASCII."""
    return key.replace("\u017f", "S").replace("\u212a", "K").upper() if not key.isascii() else key.upper()


class Type:
    """A Go type. ``zero`` is its zero value."""

    zero: Any = None

    def decode(self, node: Any, there: Any) -> Any:
        """The variable after ``node`` was decoded into it; ``there`` is what it held. Raises GoError."""
        raise NotImplementedError


class Text(Type):
    """string"""

    zero = ""

    def decode(self, node: Any, there: Any) -> Any:
        """Any string."""
        if node is None:
            return there
        if not isinstance(node, str):
            raise GoError("cannot unmarshal into string")
        return node


class Flag(Type):
    """bool"""

    zero = False

    def decode(self, node: Any, there: Any) -> Any:
        """true or false."""
        if node is None:
            return there
        if not isinstance(node, bool):
            raise GoError("cannot unmarshal into bool")
        return node


class Int(Type):
    """int64, or a narrower one."""

    zero = 0

    def __init__(self, least: int = -(2**63), most: int = 2**63 - 1) -> None:
        self._least, self._most = least, most

    def decode(self, node: Any, there: Any) -> Any:
        """A number without fraction and exponent that fits."""
        if node is None:
            return there
        if not isinstance(node, Number) or _INTEGER.fullmatch(node.text) is None or len(node.text) > 25:
            raise GoError("cannot unmarshal into int")
        if not self._least <= int(node.text) <= self._most:
            raise GoError("integer out of range")
        return int(node.text)


class Pointer(Type):
    """*T: nil or what it points to."""

    def __init__(self, to: Type) -> None:
        self._to = to

    def decode(self, node: Any, there: Any) -> Any:
        """null is nil; else into what is there, or a new T."""
        return None if node is None else self._to.decode(node, self._to.zero if there is None else there)


class Items(Type):
    """[]T. A second list goes into the elements of the first."""

    def __init__(self, of: Type) -> None:
        self._of = of

    def decode(self, node: Any, there: Any) -> Any:
        """null is nil."""
        if node is None:
            return None
        if not isinstance(node, list) or isinstance(node, Members):
            raise GoError("cannot unmarshal into a slice")
        old = there or []
        return [self._of.decode(item, old[i] if i < len(old) else self._of.zero) for i, item in enumerate(node)]


class Words(Type):
    """strslice.StrSlice: a list of strings, or one."""

    def decode(self, node: Any, there: Any) -> Any:
        """A string is a list of one."""
        if isinstance(node, str):
            return [node]
        return there if node is None else Items(TEXT).decode(node, None)


class Map(Type):
    """map[string]T. A second value of a key goes into a fresh variable."""

    def __init__(self, of: Type) -> None:
        self._of = of

    def decode(self, node: Any, there: Any) -> Any:
        """null is nil."""
        if node is None:
            return None
        if not isinstance(node, Members):
            raise GoError("cannot unmarshal into a map")
        values = dict(there or {})
        for key, value in node:
            values[key] = self._of.decode(value, self._of.zero)
        return values


class Struct(Type):
    """A struct with the names of its fields; fields that nobody mentioned are left out of the dict."""

    def __init__(self, **fields: Type) -> None:
        self._fields = fields
        self._folded = {fold(name): name for name in fields}
        self.zero = {}

    def decode(self, node: Any, there: Any) -> Any:
        """Member after member, each into what the field holds by then."""
        if node is None:
            return there
        if not isinstance(node, Members):
            raise GoError("cannot unmarshal into a struct")
        values = dict(there)
        for key, value in node:
            name = key if key in self._fields else self._folded.get(fold(key))
            if name is not None:
                field = self._fields[name]
                values[name] = field.decode(value, values.get(name, field.zero))
        return values


TEXT, FLAG, INT = Text(), Flag(), Int()
