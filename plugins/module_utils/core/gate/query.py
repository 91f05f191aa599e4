# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The query string: every parameter known to the route, of its type, given once; written anew."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from . import strict_json
from .list_filters import BadFilters, parse_filters
from .route import Param

_RAW = re.compile(r"(?:[A-Za-z0-9\-._~!$'()*+,/:@?\[\]{}|^`\"<>&=]|%[0-9A-Fa-f]{2})*")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
# dockerd's booleans: everything is true but these (moby httputils.BoolValue).
_FALSE = frozenset(("", "0", "no", "false", "none"))
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class BadQuery(Exception):
    """The query cannot be accepted; the message names the parameter."""


def parse_query(raw: str, params: Mapping[str, Param]) -> dict[str, Any]:
    """Canonical values by parameter: str, bool, int, list of str (REPEATED), JSON value, or filters as {key: [values]}.

    Raises ``BadQuery``.
    """
    if _RAW.fullmatch(raw) is None:
        raise BadQuery("the query string contains characters that have to be percent-encoded")
    values: dict[str, Any] = {}
    for item in raw.split("&") if raw else []:
        if not item:
            continue
        key, _, encoded = item.partition("=")
        name = _decode(key, "a parameter's name")
        kind = params.get(name)
        if kind is None:
            raise BadQuery(f"query parameter {name[:60]!a} is not allowed here; known are: {', '.join(sorted(params)) or 'none'}")
        text = _decode(encoded, name)
        if kind is Param.IGNORED:
            continue
        if kind is Param.REPEATED:
            values.setdefault(name, []).append(text)
            continue
        if name in values:
            raise BadQuery(f"query parameter {name!r} is given twice")
        values[name] = _convert(name, text, kind)
    return values


def encode_query(values: Mapping[str, Any]) -> str:
    """The query string for canonical values; None leaves a parameter out."""
    items: list[str] = []
    for name, value in values.items():
        if value is None:
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, bool):
                text = "1" if one else "0"
            elif isinstance(one, dict):
                text = strict_json.dump(one).decode("utf-8")
            else:
                text = str(one)
            items.append(f"{quote(name, safe='')}={quote(text, safe='')}")
    return "&".join(items)


def _decode(encoded: str, what: str) -> str:
    try:
        text = unquote_to_bytes(encoded.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise BadQuery(f"query parameter {what!r} is not UTF-8") from None
    if _CONTROL.search(text):
        raise BadQuery(f"query parameter {what!r} contains a control character")
    return text


def _convert(name: str, text: str, kind: Param) -> Any:
    if kind is Param.FLAG:
        return text.strip().lower() not in _FALSE
    if kind is Param.INTEGER:
        if text in ("", "null"):
            return None
        if _INTEGER.fullmatch(text) is None:
            raise BadQuery(f"query parameter {name!r} is {text[:40]!a}; expected a decimal number")
        return int(text)
    if kind in (Param.JSON, Param.FILTERS):
        if not text.strip():
            return None
        try:
            value = strict_json.parse(text.encode("utf-8"))
            return parse_filters(value) if kind is Param.FILTERS else value
        except (strict_json.StrictJsonError, BadFilters) as error:
            raise BadQuery(f"query parameter {name!r}: {error}") from None
    return text
