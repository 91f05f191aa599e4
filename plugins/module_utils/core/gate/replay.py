# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the log keeps of a refused request, so that ``ds01 gate explain`` can judge it again: what rules read, and nobody's secrets.

Of variables only the names stay (and the values of those that choose GPUs), of commands nothing.
"""

from __future__ import annotations

import json
from typing import Any

from . import list_filters
from .case import Admitted
from .path import rebuild
from .query import BadQuery, encode_query

MOST_BYTES = 8192
_ROUTES = frozenset({"POST /containers/create", "POST /containers/{id}/update", "POST /networks/create", "POST /volumes/create"})
_SECRET = frozenset({"Cmd", "Entrypoint", "Healthcheck", "Shell", "WorkingDir", "OnBuild", "DriverOpts"})
_SECRET_QUERY = frozenset({"buildargs", "session", "message", "changes", "labels"})
_SHOWN = "NVIDIA_"


def kept(request: Admitted) -> dict[str, Any]:
    """``target`` and ``body`` for the log; one that would be longer than MOST_BYTES is left out."""
    found: dict[str, Any] = {}
    try:
        names = rebuild(request.version, request.route.template, request.names)
        asked = {key: value for key, value in request.query.items() if key not in _SECRET_QUERY}
        if "filters" in asked:
            asked["filters"] = list_filters.encode(asked["filters"] or {})
        query = encode_query(asked)
    except (BadQuery, TypeError, ValueError):
        return found
    target = f"{names}?{query}" if query else names
    if len(target) <= MOST_BYTES:
        found["target"] = target
    body = request.read_before[0][1] if request.read_before else None
    if request.route.name in _ROUTES and isinstance(body, dict):
        shown = _without_secrets(body)
        if len(json.dumps(shown)) <= MOST_BYTES:
            found["body"] = shown
    return found


def _without_secrets(body: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for key, value in body.items():
        if key.lower() == "env" and isinstance(value, list):
            shown[key] = [_variable(item) for item in value if isinstance(item, str)]
        elif key not in _SECRET:
            shown[key] = value
    return shown


def _variable(item: str) -> str:
    name, equals, _ = item.partition("=")
    return item if name.upper().startswith(_SHOWN) else f"{name[:100]}{equals}"
