# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Every container of the host in one question to dockerd, as ContainerFacts: for programs that look often and may not ask for each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .core.workload_facts import ContainerFacts
from .docker_upstream import DockerClient

RUNNING = frozenset({"running", "paused", "restarting"})
GOING = frozenset({"removing"})


@dataclass(frozen=True)
class Listed:
    """``state`` is Docker's word: created, running, paused, restarting, removing, exited, dead."""

    facts: ContainerFacts
    state: str


def list_containers(docker: DockerClient, cgroups: Mapping[str, str]) -> list[Listed]:
    """All containers; ``cgroups`` are those of the running ones, by id. An entry of another shape is left out, the others are not.

    Raises DaemonUnavailable and DaemonRefused.
    """
    found = []
    for entry in docker.call("GET", "/containers/json?all=1"):
        try:
            found.append(_listed(entry, cgroups))
        except (KeyError, TypeError, AttributeError):
            continue
    return found


def _listed(entry: Mapping[str, Any], cgroups: Mapping[str, str]) -> Listed:
    container_id, state = str(entry["Id"]), str(entry["State"])
    own = [name[1:] for name in entry.get("Names") or () if name.count("/") == 1]  # a link gives a name with two
    facts = ContainerFacts(
        engine="docker",
        id=container_id,
        name=own[0] if own else container_id[:12],
        image=str(entry.get("Image", "")),
        labels={str(key): str(value) for key, value in (entry.get("Labels") or {}).items()},
        running=state in RUNNING,
        cgroup_path=cgroups.get(container_id, ""),
        bind_sources=_bind_sources(entry),
        created_at=float(entry.get("Created") or 0),
    )
    return Listed(facts, state)


def _bind_sources(entry: Mapping[str, Any]) -> dict[str, int]:
    """Sources of bind mounts and who owns them on disk; looked at only where no label of the gate says whose the container is."""
    if "ds01.uid" in (entry.get("Labels") or {}):
        return {}
    owners: dict[str, int] = {}
    for mount in entry.get("Mounts") or ():
        if mount.get("Type") == "bind":
            try:
                owners[str(mount["Source"])] = os.stat(mount["Source"]).st_uid
            except (OSError, ValueError):
                continue
    return owners
