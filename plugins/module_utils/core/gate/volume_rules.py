# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Volumes: local, without driver options, of one owner."""

from __future__ import annotations

from ..refusal import Refusal
from .body_fields import Field, Kind, Table, Treatment, read
from .case import Case
from .create_fields import TEXT
from .mount_rules import foreign_volume, owner_labels, user_labels
from .ownership import RESERVED_PREFIX, own_volume, owns
from .path import is_name
from .rebuild import forward
from .storage_rules import check_volumes, volume_options
from .verdict import Forward, Stop

_CREATE = Table(
    {
        "Name": TEXT,
        "Driver": TEXT,
        "DriverOpts": Field(
            Kind.ANY,
            Treatment.DENY,
            why="options of the local driver can mount any path, device or share as root",
            instead="Use a bind mount below one of your directories (-v /home/you/data:/data).",
        ),
        "Labels": Field(Kind.TEXT_MAP),
        "ClusterVolumeSpec": Field(Kind.ANY, Treatment.DENY, why="this server is no swarm"),
    }
)


def create_volume(case: Case) -> Forward:
    """A volume of the caller's own; dockerd would hand over one that exists."""
    asked = read(case.body, _CREATE)
    name = asked.get("Name", "")
    if asked.get("Driver", "local") != "local":
        raise Refusal(
            f"volume driver {ascii(asked['Driver'])[:60]} is refused",
            "only local volumes exist here",
            "Leave --driver out.",
            rule="volume-driver",
        )
    body = {"Driver": "local", "Labels": {**user_labels(asked.get("Labels", {})), **owner_labels(case)}}
    if name:
        if not is_name(name) or len(name) < 2:
            raise Stop(
                400, f"volume name {ascii(name)[:80]} is not allowed; use two or more letters, digits, '_', '.', '-'.", "volume-name"
            )
        if name.startswith(RESERVED_PREFIX):
            raise Stop(
                403,
                f"volume {name} is refused: names that start with {RESERVED_PREFIX} belong to the server. Choose another name.",
                "volume-reserved",
            )
        there = case.facts.volume(name)
        if there is not None and not owns(case.identity, there.labels):
            raise foreign_volume(name)
        body["Name"] = name
        if there is not None:
            return forward(case, params={}, body=body, object_id=name)
    check_volumes(case, 1)
    if bound := volume_options(case):
        body["DriverOpts"] = bound
    return forward(case, params={}, body=body, object_id=name)


def volume(case: Case) -> Forward:
    """Inspect or remove an own volume."""
    found = own_volume(case, case.request.names["name"])
    return forward(case, object_id=found.name)
