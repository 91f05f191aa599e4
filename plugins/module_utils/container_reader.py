# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Makes ContainerFacts of what dockerd and the OCI runtime's own files say about a container."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from .core.gpu_access import GpuAccess, gpu_access
from .core.workload_facts import ContainerFacts
from .docker_upstream import DockerClient, segment
from .proc_facts import cgroup_of

BUNDLE_ROOTS: tuple[str, ...] = (
    "/run/containerd/io.containerd.runtime.v2.task/moby",
    "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby",
)
"""Where containerd keeps the OCI bundles of dockerd's containers: with a containerd of the system, and with one that dockerd started."""
_NO_TIME = "0001-01-01"


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
        except FileNotFoundError:
            continue
    return GpuAccess()


def _bind_sources(found: Mapping[str, Any]) -> dict[str, int]:
    """The bind mounts' sources and who owns them on disk; what is gone is left out."""
    owners: dict[str, int] = {}
    for mount in found.get("Mounts") or ():
        if mount.get("Type") == "bind":
            try:
                owners[mount["Source"]] = os.stat(mount["Source"]).st_uid
            except OSError:
                continue
    return owners


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
        every_gpu=access.every,
        privileged=access.privileged,
        created_at=epoch(found.get("Created", "")),
        started_at=epoch(state.get("StartedAt", "")),
    )
