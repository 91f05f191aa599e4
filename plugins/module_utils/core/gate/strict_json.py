# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""JSON that every parser reads alike, or an error that names the place.

dockerd's parser folds the case of keys over Unicode, merges duplicate keys and replaces invalid UTF-8. None of that can matter here: a key
is ASCII and stands once whatever its case, numbers are 64-bit integers, strings are valid Unicode without NUL, nesting is bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

MAX_DEPTH = 32
_INT64 = range(-(2**63), 2**63)
# The closing quote is optional, so that a string without end costs one pass, too.
_STRINGS = re.compile(rb'"(?:[^"\\]+|\\.)*"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SUSPICIOUS_ESCAPE = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")


class StrictJsonError(ValueError):
    """What is wrong with the JSON; ``path`` says where (``HostConfig.Binds[0]``, empty for the whole)."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class _Doubt(Exception):
    """The fast reading met something forbidden; the slow one finds where."""


class _Pairs(list[tuple[str, Any]]):
    """An object as the list of its members, so that duplicates are seen."""


class _Bad:
    """A value that must not be there, kept until its path is known."""

    def __init__(self, message: str) -> None:
        self.message = message


def parse(raw: bytes) -> Any:
    """The value in ``raw``. Raises ``StrictJsonError``."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrictJsonError("", f"the body is not valid UTF-8 at byte {error.start}") from None
    _check_depth(raw)
    if _SUSPICIOUS_ESCAPE.search(text) is not None or "\x00" in text:
        return _parse_slowly(text)
    try:
        return json.loads(text, object_pairs_hook=_object, parse_float=_doubt, parse_constant=_doubt, parse_int=_integer)
    except _Doubt:
        return _parse_slowly(text)
    except ValueError as error:
        raise _syntax(error) from None


def dump(value: Any) -> bytes:
    """``value`` as compact JSON; ``parse(dump(value)) == value`` for every value that ``parse`` returns."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def _syntax(error: ValueError) -> StrictJsonError:
    if isinstance(error, json.JSONDecodeError):
        return StrictJsonError("", f"the body is not one JSON value: {error.msg} at character {error.pos}")
    return StrictJsonError("", f"the body is not one JSON value: {error}")


def _check_depth(raw: bytes) -> None:
    depth = 0
    for bracket in _STRINGS.sub(b"", raw).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise StrictJsonError("", f"the body is nested deeper than {MAX_DEPTH} levels")


def _doubt(_text: str) -> NoReturn:
    raise _Doubt


def _integer(text: str) -> int:
    if len(text) > 20:
        raise _Doubt
    value = int(text)
    if value not in _INT64:
        raise _Doubt
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len({key.lower() for key in value}) != len(pairs) or not all(map(str.isascii, value)):
        raise _Doubt
    return value


def _parse_slowly(text: str) -> Any:
    try:
        tree = json.loads(
            text,
            object_pairs_hook=_Pairs,
            parse_float=_bad("a number with a fraction or an exponent; integers only"),
            parse_constant=_bad("not a JSON number"),
            parse_int=_slow_integer,
        )
    except ValueError as error:
        raise _syntax(error) from None
    return _build(tree, "")


def _bad(message: str) -> Callable[[str], _Bad]:
    return lambda text: _Bad(f"{text[:40]} is {message}")


def _slow_integer(text: str) -> int | _Bad:
    if len(text) > 20 or int(text) not in _INT64:
        return _Bad(f"{text[:40]} does not fit into 64 bits")
    return int(text)


def _build(node: Any, path: str) -> Any:
    """``node`` with its objects as dicts; raises at the first thing that is not allowed."""
    if isinstance(node, _Bad):
        raise StrictJsonError(path, node.message)
    if isinstance(node, str):
        _check_text(node, path)
        return node
    if isinstance(node, _Pairs):
        value: dict[str, Any] = {}
        seen: dict[str, str] = {}
        for key, member in node:
            place = f"{path}.{key}" if path else key
            if not key.isascii():
                raise StrictJsonError(ascii(place), "a key with other than ASCII characters is not allowed")
            _check_text(key, ascii(place))
            if key.lower() in seen:
                raise StrictJsonError(place, f"key {key!r} is given twice (as {seen[key.lower()]!r} before)")
            seen[key.lower()] = key
            value[key] = _build(member, place)
        return value
    if isinstance(node, list):
        return [_build(item, f"{path}[{index}]") for index, item in enumerate(node)]
    return node


def _check_text(text: str, path: str) -> None:
    if "\x00" in text:
        raise StrictJsonError(path, "a string with a NUL character is not allowed")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise StrictJsonError(path, "a string with half a surrogate pair is not allowed") from None
