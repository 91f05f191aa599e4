# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The request that is forwarded, made from what was understood: the route's template, canonical values, headers from a list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from . import list_filters, path, query, strict_json
from .case import Case
from .verdict import Effect, Forward

_REGISTRY_HEADERS = {"x-registry-auth": "X-Registry-Auth", "x-registry-config": "X-Registry-Config"}
_SESSION_PREFIX = "x-docker-expose-session-"
_WEBSOCKET_HEADERS = ("Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Origin")
_ACCEPT = re.compile(r"[A-Za-z0-9*/.,;=+ -]{1,256}")
_NO_BODY: Any = object()


def forward(
    case: Case,
    *,
    names: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    body: Any = _NO_BODY,
    stream: bool = False,
    versioned: bool = True,
    newest: bool = False,
    upgrade: str | None = None,
    endless: bool | None = None,
    archive: bool = False,
    before: tuple[Effect, ...] = (),
    after: tuple[Effect, ...] = (),
    object_id: str = "",
) -> Forward:
    """The case's request rebuilt. ``names`` replace names of the path, ``params`` replace the whole query.

    ``newest`` asks the daemon in the newest version, for what older ones would drop silently. ``versioned`` False leaves the version out.
    """
    request, route = case.request, case.request.route
    version = case.context.api_max if newest or request.version is None else request.version
    values = dict(request.query if params is None else params)
    if "filters" in values:
        values["filters"] = list_filters.encode(values["filters"] or {})
    return Forward(
        method=route.method,
        path=path.rebuild(version if versioned else None, route.template, {**request.names, **(names or {})}),
        query=query.encode_query(values),
        headers=_headers(case, has_json=body is not _NO_BODY, has_stream=stream, upgrade=upgrade),
        body=None if body is _NO_BODY else strict_json.dump(body),
        stream=stream,
        upgrade=upgrade,
        endless=route.endless if endless is None else endless,
        response=route.response,
        before=before,
        after=after,
        object_id=object_id,
        rule=route.rule,
        archive=archive,
    )


def wanted_upgrade(case: Case) -> str | None:
    """The protocol that the client asks to change to, if the route may."""
    upgrade = case.request.head.upgrade
    return upgrade if upgrade in case.request.route.upgrades else None


def _headers(case: Case, *, has_json: bool, has_stream: bool, upgrade: str | None) -> tuple[tuple[str, str], ...]:
    head = case.request.head
    built: list[tuple[str, str]] = []
    if has_json:
        built.append(("Content-Type", "application/json"))
    elif has_stream:
        built.append(("Content-Type", "application/x-tar"))
    for name, value in head.headers:
        if name in _REGISTRY_HEADERS:
            built.append((_REGISTRY_HEADERS[name], value))
        elif name == "accept" and _ACCEPT.fullmatch(value):
            built.append(("Accept", value))
        elif name.startswith(_SESSION_PREFIX) and upgrade == "h2c":
            built.append((name, value))
    if upgrade == "websocket":
        built += [(name, wanted) for name in _WEBSOCKET_HEADERS if (wanted := head.header(name.lower())) is not None]
    return tuple(built)
