# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The network of a new container: its mode, its endpoints, its ports."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..refusal import Refusal
from ..user_names import network_name
from . import namespace_rules
from .body_fields import check_count
from .case import Case
from .facts import NetworkFact, Question
from .ownership import own_network
from .path import is_name
from .verdict import Stop

_PLAIN = frozenset(("default", "bridge", "none"))
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(?:tcp|udp|sctp))?")
_HOST_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_MOST_NETWORKS = 50
# Each published port is a process of the daemon.
_MOST_PORTS = 256
_FIRST_FREE_PORT = 1024
_LAST_PORT = 65535
_LOCAL = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "127.0.0.1": "127.0.0.1", "::": "::1", "::1": "::1", "localhost": "127.0.0.1"}
_ALIAS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")


def questions(mode: str, endpoints: Mapping[str, Any]) -> list[Question]:
    """The networks to look up."""
    check_count(endpoints, _MOST_NETWORKS, "NetworkingConfig.EndpointsConfig")
    names = [mode, *endpoints]
    return [NetworkFact(name) for name in names if name and name not in _PLAIN and is_name(name) and name != "host"]


def network_mode(case: Case, mode: str) -> str:
    """NetworkMode as forwarded: default, bridge, none, an own network or an own container."""
    if mode.startswith("container:"):
        return namespace_rules.joined(case, "HostConfig.NetworkMode", mode)
    _check_network(case, mode or "default", "HostConfig.NetworkMode")
    return mode or "default"


def endpoints(case: Case, asked: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """NetworkingConfig.EndpointsConfig: own networks, with aliases, links to own containers and addresses."""
    built = {}
    for name, settings in asked.items():
        place = f"NetworkingConfig.EndpointsConfig[{name!r}]"
        _check_network(case, name, place)
        built[name] = endpoint(case, settings, place)
    return built


def endpoint(case: Case, settings: Mapping[str, Any], place: str) -> dict[str, Any]:
    """One endpoint's settings."""
    built: dict[str, Any] = {}
    for alias in settings.get("Aliases", ()):
        if _ALIAS.fullmatch(alias) is None:
            raise Stop(400, f"{place}.Aliases holds {ascii(alias)[:60]}; expected a host name.", "network-alias")
    if "Aliases" in settings:
        built["Aliases"] = settings["Aliases"]
    if "Links" in settings:
        built["Links"] = namespace_rules.links(case, settings["Links"], f"{place}.Links")
    addresses = {key: _address(value, f"{place}.IPAMConfig.{key}") for key, value in settings.get("IPAMConfig", {}).items()}
    if addresses:
        built["IPAMConfig"] = addresses
    if "GwPriority" in settings:
        built["GwPriority"] = settings["GwPriority"]
    return built


def exposed_ports(asked: Mapping[str, Any]) -> dict[str, Any]:
    """ExposedPorts with checked names."""
    check_count(asked, _MOST_PORTS, "ExposedPorts")
    return {_port(port, "ExposedPorts"): {} for port in asked}


def port_bindings(asked: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Published ports: on this machine only, and none that belongs to the system."""
    check_count([item for bindings in asked.values() for item in bindings], _MOST_PORTS, "HostConfig.PortBindings")
    built: dict[str, Any] = {}
    for port, bindings in asked.items():
        place = f"HostConfig.PortBindings[{port!r}]"
        built[_port(port, "HostConfig.PortBindings")] = [
            {"HostIp": _host_ip(item.get("HostIp", ""), place), "HostPort": _host_port(item.get("HostPort", ""), place)}
            for item in bindings
        ]
    return built


def publish_all(exposed: Iterable[str], bound: Mapping[str, Any]) -> dict[str, Any]:
    """``bound`` and, for every exposed port that it lacks, a free port on this machine only: dockerd would take one on all addresses."""
    ports = [port if "/" in port else f"{port}/tcp" for port in exposed if _PORT.fullmatch(port)]
    check_count({*ports, *bound}, _MOST_PORTS, "PublishAllPorts")
    free = {port: [{"HostIp": "127.0.0.1", "HostPort": ""}] for port in ports}
    return {**free, **bound}


def _check_network(case: Case, name: str, place: str) -> None:
    if name in _PLAIN:
        return
    if name == "host":
        raise Refusal(
            f"{place} = host is refused",
            "the host's network is everybody's",
            "Use the default network and publish ports with -p.",
            rule="network-host",
        )
    if not is_name(name):
        raise Stop(400, f"{place} is {ascii(name)[:80]}; expected the name of a network.", "network-name")
    if name == network_name(case.identity.user, case.identity.uid) and case.facts.network(name) is None:
        return  # It is made before the container.
    own_network(case, name)


def _port(text: str, place: str) -> str:
    match = _PORT.fullmatch(text)
    if match is None or not all(int(number) <= _LAST_PORT for number in match.groups() if number):
        raise Stop(400, f"{place} names {ascii(text)[:40]}; expected PORT[-PORT][/tcp|udp|sctp].", "port")
    return text


def _host_ip(text: str, place: str) -> str:
    if text not in _LOCAL:
        raise Refusal(
            f"{place}.HostIp = {ascii(text)[:60]} is refused",
            "ports are published on this machine only",
            "Use 127.0.0.1, and ssh -L to reach it.",
            rule="host-ip",
        )
    return _LOCAL[text]


def _host_port(text: str, place: str) -> str:
    if text in ("", "0"):
        return ""
    match = _HOST_PORT.fullmatch(text)
    numbers = [int(number) for number in match.groups() if number] if match else []
    if not numbers or max(numbers) > _LAST_PORT:
        raise Stop(400, f"{place}.HostPort is {ascii(text)[:40]}; expected a port.", "port")
    if min(numbers) < _FIRST_FREE_PORT:
        raise Refusal(
            f"{place}.HostPort = {text} is refused",
            f"ports below {_FIRST_FREE_PORT} belong to the system",
            "Use a higher port, such as -p 8080:80.",
            rule="host-port",
        )
    return text


def _address(text: str, place: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise Stop(400, f"{place} is {ascii(text)[:60]}; expected an IP address.", "ip-address") from None
