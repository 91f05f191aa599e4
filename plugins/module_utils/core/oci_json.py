# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""JSON for the runtime guard: the parser and the encoder in C that ``json`` itself uses, without ``json``.

``json`` imports ``re``, for its fall-back in Python only, and that is half of what a check of a container would cost.
Where a Python has these parts not, or takes other arguments for them, ``json`` does the work.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SPACE = " \t\n\r"


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


class _Strictly:
    """What the parser asks for: plain types, no control characters in strings, no NaN and no Infinity."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_no_constant)
    memo: dict[str, str] = {}  # noqa: RUF012


def _not_encodable(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} is no JSON")


def _parts() -> tuple[Callable[[str, int], tuple[Any, int]], Callable[[Any, int], Any]]:
    """``scan(text, start)`` gives the value and where it ends; ``encode(value, 0)`` the pieces of the text."""
    try:
        import _json

        encode = _json.make_encoder(None, _not_encodable, _json.encode_basestring_ascii, None, ": ", ", ", False, False, False)
        scanner: Any = _json.make_scanner  # its stub asks for another scanner; any object with these attributes does
        return scanner(_Strictly), encode
    except (ImportError, AttributeError, TypeError):
        import json

        decoder, encoder = json.JSONDecoder(parse_constant=_no_constant), json.JSONEncoder(allow_nan=False)
        return decoder.raw_decode, lambda value, _level: (encoder.encode(value),)


_scan, _encode = _parts()


def read_json(text: str) -> Any:
    """The value of a JSON document. Raises ValueError for anything else, and RecursionError for one that is nested too deeply."""
    text = text.strip(_SPACE)
    try:
        value, end = _scan(text, 0)
    except StopIteration as error:
        raise ValueError(f"no JSON: a value is missing at character {error.value}") from None
    if end != len(text):
        raise ValueError(f"no JSON: more follows the value at character {end}")
    return value


def write_json(value: Any) -> str:
    """``value``, of plain types and without cycles, as JSON in ASCII. Raises TypeError or ValueError for what JSON cannot say."""
    return "".join(_encode(value, 0))
