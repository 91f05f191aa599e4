# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What kind of workload something is: one classification for inventory, metrics, alerts and lifecycle."""

from __future__ import annotations

from enum import Enum

from .cgroup_path import place
from .workload_facts import ContainerFacts, ProcessFacts

_FIRST_HUMAN_UID = 1000
_SYSTEM_EXECUTABLES = (
    "/usr/bin/nvidia-persistenced",
    "/usr/bin/nv-hostengine",
    "/usr/bin/dcgm-exporter",
    "/usr/lib/xorg/Xorg",
    "/usr/bin/nvidia-smi",
)


class Kind(str, Enum):
    """``managed``: made through the gate; the other containers came around it."""

    MANAGED = "managed"
    DEVCONTAINER = "devcontainer"
    COMPOSE = "compose"
    RAW = "raw"
    OTHER_ENGINE = "other-engine"
    SLURM = "slurm"
    HOST = "host"
    SYSTEM = "system"

    @property
    def tracked(self) -> bool:
        """Whether the platform gave this workload its GPU (or the system needs it)."""
        return self in (Kind.MANAGED, Kind.SLURM, Kind.SYSTEM)


def container_kind(facts: ContainerFacts) -> Kind:
    """The kind of a container. Managed needs the gate's label and the gate's slice to agree: labels alone are anybody's."""
    where = place(facts.cgroup_path)
    if where.slurm_job is not None:
        return Kind.SLURM
    if facts.engine != "docker":
        return Kind.OTHER_ENGINE
    uid = facts.labels.get("ds01.uid", "")
    if uid.isdigit() and (not facts.running or where.uid == int(uid)):
        return Kind.MANAGED
    if any(label.startswith("devcontainer.") for label in facts.labels) or facts.name.startswith("vsc-"):
        return Kind.DEVCONTAINER
    if "com.docker.compose.project" in facts.labels:
        return Kind.COMPOSE
    return Kind.RAW


def origin(facts: ContainerFacts) -> str:
    """How a container was made, whether through the gate or not: ds01, devcontainer, compose, docker, or the engine's name."""
    if facts.engine != "docker":
        return facts.engine
    declared = facts.labels.get("ds01.kind")
    if declared:
        return declared
    kind = container_kind(facts)
    return "docker" if kind in (Kind.RAW, Kind.MANAGED) else kind.value


def process_kind(facts: ProcessFacts, container: Kind | None) -> Kind:
    """The kind of a process on a GPU outside the containers that are known.

    System is what a system account runs as a service, outside any session, from a file at a place of root's. What a process calls itself
    proves nothing, and neither does its file's path alone: in a mount namespace of their own people put any file at any path.
    """
    if container is not None:
        return container
    where = place(facts.cgroup_path)
    if where.slurm_job is not None:
        return Kind.SLURM
    if where.engine is not None and where.login_uid is None:
        return Kind.RAW if where.engine == "docker" else Kind.OTHER_ENGINE
    if where.engine is not None:
        return Kind.OTHER_ENGINE
    by_person = facts.login_uid is not None or where.login_uid is not None or facts.uid >= _FIRST_HUMAN_UID
    if not by_person and where.unit is not None and facts.executable in _SYSTEM_EXECUTABLES:
        return Kind.SYSTEM
    return Kind.HOST
