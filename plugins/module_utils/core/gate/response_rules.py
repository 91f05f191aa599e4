# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The daemon's answers, where something in them is changed: the API version is capped, lists keep to their reader."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .context import Context
from .facts import Container
from .identity import Identity
from .ownership import PREDEFINED_NETWORKS, owns, owns_container
from .verdict import ResponseRule

_MIN_API = (1, 41)
# DiscoveredDevices (API 1.50) names the CDI device of every claim.
_PRIVATE_INFO = ("RegistryConfig", "Labels", "DiscoveredDevices")


def needs_body(rule: ResponseRule) -> bool:
    """Whether the answer's JSON has to be read whole and given to ``rewrite``. Only answers with status 200 are."""
    return rule not in (ResponseRule.PASS, ResponseRule.CAP_HEADER)


def cap_api_header(value: str, context: Context) -> str:
    """The value for the header ``Api-Version``, which every answer of dockerd carries: clients speak the version they read there."""
    return _text(min(_version(value) or context.api_max, context.api_max))


def rewrite(rule: ResponseRule, raw: bytes, identity: Identity, context: Context, most: int = 0) -> bytes:
    """The answer's body as the caller gets it; of a list the first ``most`` entries, unless that is 0.

    Raises ValueError when the daemon sent no JSON of the expected form.
    """
    value = _REWRITES[rule](json.loads(raw), identity, context)
    if most and isinstance(value, list):
        value = value[:most]
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"


def _version(text: str) -> tuple[int, int] | None:
    major, _, minor = text.strip().partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"the daemon answered with {type(value).__name__}, expected an object")
    return value


def _cap_version(value: Any, _identity: Identity, context: Context) -> Any:
    """/version: ApiVersion and MinAPIVersion, at the top and in each component's details."""
    answer = dict(_mapping(value))
    details = [answer, *(item["Details"] for item in answer.get("Components") or () if isinstance(item.get("Details"), dict))]
    for place in details:
        if "ApiVersion" in place:
            place["ApiVersion"] = cap_api_header(place["ApiVersion"], context)
        if "MinAPIVersion" in place:
            place["MinAPIVersion"] = _text(max(_version(place["MinAPIVersion"]) or _MIN_API, _MIN_API))
    return answer


def _info(value: Any, identity: Identity, _context: Context) -> Any:
    """/info without the daemon's labels, registry settings and devices."""
    answer = _mapping(value)
    return answer if identity.admin else {key: item for key, item in answer.items() if key not in _PRIVATE_INFO}


def _own_networks(value: Any, identity: Identity, _context: Context) -> Any:
    """/networks: the reader's own, and the predefined ones."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"the daemon answered with {type(value).__name__}, expected a list")
    return [item for item in value if item.get("Name") in PREDEFINED_NETWORKS or owns(identity, item.get("Labels") or {})]


def _own_containers(value: Any, identity: Identity, _context: Context) -> Any:
    """/containers/json: the reader's own, those of before the gate included, which no filter of dockerd's finds."""
    if not isinstance(value, list):
        raise ValueError(f"the daemon answered with {type(value).__name__}, expected a list")
    return [item for item in value if owns_container(identity, _listed(_mapping(item)))]


def _listed(item: Mapping[str, Any]) -> Container:
    # A link gives a container a second name, with two slashes.
    own = [name[1:] for name in item.get("Names") or () if name.count("/") == 1]
    return Container(str(item.get("Id", "")), own[0] if own else "", item.get("Labels") or {})


def _shared_network(value: Any, _identity: Identity, _context: Context) -> Any:
    """/networks/bridge without the containers in it, which are everybody's."""
    return {**_mapping(value), "Containers": {}}


_REWRITES: Mapping[ResponseRule, Callable[[Any, Identity, Context], Any]] = {
    ResponseRule.CAP_VERSION: _cap_version,
    ResponseRule.INFO: _info,
    ResponseRule.OWN_CONTAINERS: _own_containers,
    ResponseRule.OWN_NETWORKS: _own_networks,
    ResponseRule.SHARED_NETWORK: _shared_network,
}
