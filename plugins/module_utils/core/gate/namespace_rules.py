# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Namespaces, capabilities, groups and links of a container: its own, or those of another container of the same person."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..refusal import Refusal
from .body_fields import check_count
from .case import Case
from .facts import ContainerFact, Question
from .ownership import own_container
from .path import is_name
from .verdict import Stop

# What Docker gives every container anyway (moby oci/caps/defaults.go); asking for it changes nothing.
DEFAULT_CAPABILITIES = frozenset(
    (
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    )
)
_PRIVATE = {
    "IpcMode": frozenset(("", "none", "private", "shareable")),
    "PidMode": frozenset(("",)),
    "UTSMode": frozenset(("",)),
    "UsernsMode": frozenset(("",)),
    "CgroupnsMode": frozenset(("", "private")),
    "Isolation": frozenset(("", "default")),
}
_MOST_CONTAINERS = 50
_JOINABLE = ("IpcMode", "PidMode", "NetworkMode")
NO_NEW_PRIVILEGES = frozenset(("no-new-privileges", "no-new-privileges=true", "no-new-privileges:true"))
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def container_refs(host: Mapping[str, Any]) -> list[Question]:
    """The containers that a HostConfig names: what to ask before the rules below can decide."""
    for field in ("VolumesFrom", "Links"):
        check_count(host.get(field, ()), _MOST_CONTAINERS, f"HostConfig.{field}")
    refs = [host[field].partition(":")[2] for field in _JOINABLE if host.get(field, "").startswith("container:")]
    refs += [item.partition(":")[0] for item in (*host.get("VolumesFrom", ()), *host.get("Links", ()))]
    return [ContainerFact(ref) for ref in refs if is_name(ref)]


def joined(case: Case, place: str, value: str) -> str:
    """``container:<full id>`` for ``container:<ref>`` of an own container."""
    ref = value.partition(":")[2]
    if not is_name(ref):
        raise Stop(400, f"{place} is {ascii(value)[:80]}; expected container:NAME.", "container-mode")
    return f"container:{own_container(case, ref).id}"


def modes(case: Case, host: Mapping[str, Any]) -> dict[str, Any]:
    """All namespace modes but the network's."""
    built = {}
    for field, allowed in _PRIVATE.items():
        value = host.get(field, "")
        if field in _JOINABLE and value.startswith("container:"):
            built[field] = joined(case, f"HostConfig.{field}", value)
        elif value not in allowed:
            raise Refusal(
                f"HostConfig.{field} = {ascii(value)[:60]} is refused",
                "a container keeps to namespaces of its own",
                "Leave it out.",
                rule=f"field-{field.lower()}",
            )
        elif value and field != "Isolation":
            built[field] = value
    # Said and not left to dockerd, whose default its configuration or an old hierarchy of control groups can make "host".
    built["CgroupnsMode"] = "private"
    return built


def volumes_from(case: Case, host: Mapping[str, Any]) -> list[str]:
    """``<full id>[:ro|:rw]`` for every container whose volumes are taken over; all of them the caller's."""
    built = []
    for item in host.get("VolumesFrom", ()):
        ref, _, mode = item.partition(":")
        if not is_name(ref) or mode not in ("", "ro", "rw"):
            raise Stop(400, f"HostConfig.VolumesFrom holds {ascii(item)[:80]}; expected CONTAINER[:ro|rw].", "volumes-from")
        built.append(f"{own_container(case, ref).id}:{mode}" if mode else own_container(case, ref).id)
    return built


def links(case: Case, items: list[str], place: str) -> list[str]:
    """``<full id>:alias`` for every linked container; all of them the caller's."""
    check_count(items, _MOST_CONTAINERS, place)
    built = []
    for item in items:
        ref, _, alias = item.partition(":")
        if not is_name(ref) or _ALIAS.fullmatch(alias or ref) is None:
            raise Stop(400, f"{place} holds {ascii(item)[:80]}; expected CONTAINER[:ALIAS].", "links")
        built.append(f"{own_container(case, ref).id}:{alias or ref}")
    return built


def capabilities(host: Mapping[str, Any]) -> dict[str, Any]:
    """CapDrop as asked; CapAdd of what every container has."""
    built: dict[str, Any] = {}
    added = [name.upper().removeprefix("CAP_") for name in host.get("CapAdd", ())]
    if any(name not in DEFAULT_CAPABILITIES for name in added):
        raise Refusal(
            f"HostConfig.CapAdd = {ascii(host['CapAdd'])[:80]} is refused",
            "more capabilities than docker's default reach the host",
            "Leave --cap-add out.",
            rule="capabilities",
        )
    if added:
        built["CapAdd"] = added
    if "CapDrop" in host:
        built["CapDrop"] = host["CapDrop"]
    return built


def security_options(host: Mapping[str, Any]) -> dict[str, Any]:
    """``no-new-privileges`` and nothing that loosens a profile."""
    options = host.get("SecurityOpt", [])
    for option in options:
        if option not in NO_NEW_PRIVILEGES:
            raise Refusal(
                f"HostConfig.SecurityOpt = {ascii(option)[:80]} is refused",
                "seccomp, AppArmor and label profiles are the server's",
                "Use no-new-privileges or nothing.",
                rule="security-opt",
            )
    return {"SecurityOpt": ["no-new-privileges"]} if options else {}


def groups(case: Case, host: Mapping[str, Any]) -> dict[str, Any]:
    """Additional groups, as numbers: only those that the caller is in."""
    built = []
    for group in host.get("GroupAdd", ()):
        gid = case.identity.may_join(group)
        if gid is None:
            raise Refusal(
                f"HostConfig.GroupAdd = {ascii(group)[:60]} is refused",
                "you are not in that group, or it is a system group",
                "Name one of your own groups (see: id).",
                rule="group-add",
            )
        built.append(str(gid))
    return {"GroupAdd": built} if built else {}
