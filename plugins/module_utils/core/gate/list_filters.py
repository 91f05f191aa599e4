# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The JSON of ``filters=``: both forms that clients send, and the filter that keeps a list to its owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .identity import OWNER_LABEL, Identity


class BadFilters(Exception):
    """The filters are of no known form."""


def parse_filters(value: Any) -> dict[str, list[str]]:
    """{key: values} from ``{"label": ["a=b"]}`` or ``{"label": {"a=b": true}}``; null is no filter. Raises ``BadFilters``."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadFilters('filters are an object of lists, such as {"label": ["a=b"]}')
    parsed: dict[str, list[str]] = {}
    for key, wanted in value.items():
        if isinstance(wanted, dict) and all(item is True for item in wanted.values()):
            wanted = list(wanted)
        if not isinstance(wanted, list) or not all(isinstance(item, str) for item in wanted):
            raise BadFilters(f"filter {key!r} is a list of strings, or an object with the value true for each")
        parsed[key] = wanted
    return parsed


def check_keys(filters: Mapping[str, list[str]], allowed: frozenset[str]) -> None:
    """Nothing if every key is allowed on this list, else ``BadFilters``."""
    for key in filters:
        if key not in allowed:
            raise BadFilters(f"filter {key!r} is not allowed here; known are: {', '.join(sorted(allowed))}")


def own_only(filters: Mapping[str, list[str]], identity: Identity) -> dict[str, list[str]]:
    """``filters`` and the owner's label: dockerd joins several labels by AND. Admins see everything."""
    if identity.admin:
        return dict(filters)
    return {**filters, "label": [*filters.get("label", []), f"{OWNER_LABEL}={identity.user}"]}


def encode(filters: Mapping[str, list[str]]) -> dict[str, dict[str, bool]] | None:
    """The form that dockerd's clients send today; None for no filter at all."""
    return {key: dict.fromkeys(values, True) for key, values in filters.items()} or None
