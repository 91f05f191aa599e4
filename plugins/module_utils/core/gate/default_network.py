# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The network of a container that asks for none. With ``per-user`` each person has a bridge of their own, so that containers of different
people can't reach each other: Docker isolates bridges from one another. Docker's common bridge is then used by nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..user_names import network_name
from .case import Case
from .identity import INTERNAL_LABEL, OWNER_LABEL, UID_LABEL
from .verdict import EnsureNetwork, Stop

PER_USER, BRIDGE, NONE = "per-user", "bridge", "none"
_UNNAMED = frozenset(("", "default"))
_COMMON = _UNNAMED | {BRIDGE}


def own_network_of(user: str, uid: int) -> EnsureNetwork:
    """A person's own default network."""
    return EnsureNetwork(network_name(user, uid), {OWNER_LABEL: user, UID_LABEL: str(uid), INTERNAL_LABEL: "default-network"})


def is_default_network(labels: Mapping[str, str]) -> bool:
    """Whether a network is somebody's default one, which is not theirs to remove."""
    return labels.get(INTERNAL_LABEL) == "default-network"


def mode_of(case: Case, asked: str) -> str:
    """What stands for the network mode ``asked``, where policy has a word about it: own network, bridge or none; others as they are."""
    if asked not in _COMMON:
        return asked
    if case.context.network_default == PER_USER:
        return network_name(case.identity.user, case.identity.uid)
    if case.context.network_default == NONE and asked in _UNNAMED:
        return NONE
    return asked or "default"


def needed(case: Case, mode: str) -> tuple[EnsureNetwork, ...]:
    """The own network, when ``mode`` names it."""
    own = own_network_of(case.identity.user, case.identity.uid)
    return (own,) if mode == own.name and case.context.network_default == PER_USER else ()


def endpoints_of(case: Case, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The endpoints under the names that their networks have; what clients call ``default`` or ``bridge`` is what ``mode_of`` says."""
    built: dict[str, Any] = {}
    for name, settings in asked.items():
        there = mode_of(case, name)
        if there == NONE and name in _UNNAMED:
            continue
        if there in built:
            raise Stop(400, f"NetworkingConfig.EndpointsConfig names the network {there} twice.", "network-name")
        built[there] = settings
    return built
