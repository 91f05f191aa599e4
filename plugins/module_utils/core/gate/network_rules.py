# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Networks: bridges without options, of one owner."""

from __future__ import annotations

from typing import Any

from ..refusal import Refusal
from . import container_network, default_network
from .body_fields import Field, Kind, Table, Treatment, read
from .case import Case
from .create_fields import ENDPOINT, FLAG, TEXT
from .default_network import is_default_network
from .facts import ContainerFact, NetworkCountFact, NetworkFact
from .mount_rules import owner_labels, user_labels
from .ownership import PREDEFINED_NETWORKS, RESERVED_PREFIX, own_container, own_network, owns
from .path import is_name, looks_like_id
from .rebuild import forward
from .verdict import Forward, ResponseRule, Stop

_HOST_ROUTES = "addresses, drivers and options of a network change the host's own routes"
_DENIED = Field(Kind.ANY, Treatment.DENY, why=_HOST_ROUTES, instead="Leave it out; the server chooses.")
_DROPPED = Field(Kind.ANY, Treatment.DROP)
_CREATE = Table(
    {
        "Name": TEXT,
        "CheckDuplicate": _DROPPED,
        "Driver": TEXT,
        "Scope": TEXT,
        "EnableIPv4": _DROPPED,
        "EnableIPv6": FLAG,
        "IPAM": Field(Kind.OBJECT, table=Table({"Driver": TEXT, "Config": _DENIED, "Options": _DENIED})),
        "Internal": FLAG,
        "Attachable": _DROPPED,
        "Ingress": _DENIED,
        "ConfigOnly": _DENIED,
        "ConfigFrom": Field(Kind.OBJECT, table=Table({"Network": _DENIED})),
        "Options": _DENIED,
        "Labels": Field(Kind.TEXT_MAP),
    }
)
_CONNECT = Table({"Container": TEXT, "EndpointConfig": Field(Kind.OBJECT, table=ENDPOINT)})
_DISCONNECT = Table({"Container": TEXT, "Force": FLAG})


def create_network(case: Case) -> Forward:
    """A bridge of the caller's own."""
    asked = read(case.body, _CREATE)
    name = asked.get("Name", "")
    if not is_name(name) or looks_like_id(name) or name in (*PREDEFINED_NETWORKS, "default") or name.startswith(RESERVED_PREFIX):
        raise Stop(
            400,
            f"network name {ascii(name)[:80]} is not allowed; use letters, digits, '_', '.', '-', and no name that looks like an id.",
            "network-name",
        )
    if (
        asked.get("Driver", "bridge") not in ("bridge", "default")
        or asked.get("Scope", "local") != "local"
        or asked.get("IPAM", {}).get("Driver", "default") != "default"
    ):
        raise Refusal(
            f"network {name} is refused",
            f"{_HOST_ROUTES}, and only bridges are offered",
            "Use --driver bridge, or none.",
            rule="network-driver",
        )
    case.facts.require(NetworkFact(name), NetworkCountFact(case.identity.user))
    there = case.facts.network(name)
    if there is not None and there.name == name and not owns(case.identity, there.labels):
        raise Stop(
            409,
            f"network with name {name} already exists and belongs to another user of this server. "
            "Choose another name; for compose set COMPOSE_PROJECT_NAME.",
            "foreign-name",
        )
    count = case.facts.network_count(case.identity.user)
    if count >= case.context.networks_per_user:
        raise Refusal(
            f"network {name} is refused",
            f"you have {count} networks, and {case.context.networks_per_user} are allowed",
            "Remove unused ones (docker network prune).",
            rule="network-count",
        )
    body = {
        "Name": name,
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Labels": {**user_labels(asked.get("Labels", {})), **owner_labels(case)},
    }
    body.update({key: True for key in ("EnableIPv6", "Internal") if key in asked})
    return forward(case, params={}, body=body)


def inspect_network(case: Case) -> Forward:
    """An own network, or a predefined one without its containers."""
    ref = case.request.names["id"]
    network = case.facts.network(ref)
    if network is not None and network.name in PREDEFINED_NETWORKS and not case.identity.admin:
        built = forward(case, names={"id": network.id}, object_id=network.id)
        return Forward(**{**vars(built), "response": ResponseRule.SHARED_NETWORK})
    if network is not None and network.name in PREDEFINED_NETWORKS:
        return forward(case, names={"id": network.id}, object_id=network.id)
    return forward(case, names={"id": own_network(case, ref).id})


def remove_network(case: Case) -> Forward:
    """An own network."""
    network = own_network(case, case.request.names["id"])
    if is_default_network(network.labels) and not case.identity.admin:
        raise Refusal(
            f"removal of network {network.name} is refused",
            "your containers that name no network are on it",
            "Leave it; it costs nothing.",
            rule="network-default",
        )
    return forward(case, names={"id": network.id}, object_id=network.id)


def connect_network(case: Case) -> Forward:
    """An own container to an own network, or to the default bridge."""
    asked = read(case.body, _CONNECT)
    network_id, container_id = _both(case, asked.get("Container", ""))
    body: dict[str, Any] = {"Container": container_id}
    if "EndpointConfig" in asked:
        body["EndpointConfig"] = container_network.endpoint(case, asked["EndpointConfig"], "EndpointConfig")
    return forward(case, names={"id": network_id}, body=body, object_id=container_id)


def disconnect_network(case: Case) -> Forward:
    """An own container from its network."""
    asked = read(case.body, _DISCONNECT)
    network_id, container_id = _both(case, asked.get("Container", ""))
    return forward(
        case, names={"id": network_id}, body={"Container": container_id, "Force": asked.get("Force", False)}, object_id=container_id
    )


def _both(case: Case, ref: str) -> tuple[str, str]:
    """(network id, container id) of a connection between two things of the caller; the bridge is everybody's."""
    if not is_name(ref):
        raise Stop(400, f"Container is {ascii(ref)[:80]}; expected a name or id.", "container-name")
    name = case.request.names["id"]
    case.facts.require(NetworkFact(name), ContainerFact(ref))
    network = case.facts.network(name)
    common = case.context.network_default != default_network.PER_USER
    if network is None or network.name != "bridge" or not common:
        network = own_network(case, name)
    return network.id, own_container(case, ref).id
