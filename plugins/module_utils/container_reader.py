# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Makes ContainerFacts of what dockerd and the OCI runtime's own files say about a container."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from .core.gpu_access import GpuAccess, gpu_access
from .core.workload_facts import ContainerFacts
from .docker_upstream import DockerClient, segment
from .patience import Patience
from .proc_facts import cgroup_of

BUNDLE_ROOTS: tuple[str, ...] = (
    "/run/containerd/io.containerd.runtime.v2.task/moby",
    "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby",
)
"""Where containerd keeps the OCI bundles of dockerd's containers: with a containerd of the system, and with one that dockerd started."""
_NO_TIME = "0001-01-01"
_PATIENCE = Patience()


def epoch(text: str) -> float:
    """Seconds since the epoch of a time as Docker writes it (RFC 3339 with nanoseconds); 0 for Docker's "never"."""
    if not text or text.startswith(_NO_TIME):
        return 0.0
    whole, _, fraction = text.rstrip("Z").partition(".")
    moment = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return moment.timestamp() + float(f"0.{fraction or 0}")


def access_of(container_id: str, roots: tuple[str, ...] = BUNDLE_ROOTS) -> GpuAccess:
    """What the container can open, by the spec that its runtime was given; none for a container that does not run."""
    for root in roots:
        try:
            with open(os.path.join(root, container_id, "config.json"), encoding="utf-8") as stream:
                return gpu_access(json.load(stream))
        except (OSError, ValueError):
            continue
    return GpuAccess()


def _bind_sources(found: Mapping[str, Any]) -> dict[str, int]:
    """The bind mounts' sources and who owns them on disk; what is gone, or does not answer, is left out.

    Looked at only where no label of the gate says whose the container is.
    """
    owners: dict[str, int] = {}
    if "ds01.uid" in (found["Config"].get("Labels") or {}):
        return owners
    for mount in found.get("Mounts") or ():
        if mount.get("Type") == "bind":
            source = str(mount["Source"])
            owner = _PATIENCE.read(functools.partial(_owner, source))
            if owner is not None:
                owners[source] = owner
    return owners


def _owner(path: str) -> int:
    return os.stat(path).st_uid


def read_container(docker: DockerClient, container_id: str, bundle_roots: tuple[str, ...] = BUNDLE_ROOTS) -> ContainerFacts | None:
    """The container as it is now, None when there is none. Raises DaemonUnavailable and DaemonRefused."""
    found = docker.find(f"/containers/{segment(container_id)}/json")
    if found is None:
        return None
    state = found["State"]
    running = bool(state.get("Running"))
    access = access_of(found["Id"], bundle_roots) if running else GpuAccess()
    return ContainerFacts(
        engine="docker",
        id=found["Id"],
        name=found["Name"].lstrip("/"),
        image=found["Config"].get("Image", ""),
        labels=found["Config"].get("Labels") or {},
        running=running,
        cgroup_path=cgroup_of(int(state.get("Pid") or 0)) if running else "",
        bind_sources=_bind_sources(found),
        gpu_minors=access.minors,
        gpu_names=access.names,
        every_gpu=access.every,
        privileged=access.privileged,
        access_by=access.by,
        created_at=epoch(found.get("Created", "")),
        started_at=epoch(state.get("StartedAt", "")),
    )


def from_listing(entry: Mapping[str, Any]) -> ContainerFacts:
    """The container as dockerd's list has it, for one that dockerd can't describe: who and what it is, and no access that is not known."""
    names = [str(name)[1:] for name in entry.get("Names") or ()]
    container_id = str(entry["Id"])
    return ContainerFacts(
        engine="docker",
        id=container_id,
        name=names[0] if names else container_id[:12],
        image=str(entry.get("Image", "")),
        labels={str(key): str(value) for key, value in (entry.get("Labels") or {}).items()},
        running=entry.get("State") == "running",
    )
