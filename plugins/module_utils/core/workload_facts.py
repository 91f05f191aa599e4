# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What was seen of a container and of a process on a GPU, before anything is concluded from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ContainerFacts:
    """A container as its engine describes it. ``bind_sources`` maps a source below a home to the uid that owns it on disk.

    ``gpu_minors`` are the GPUs that the device cgroup lets it open (the OCI truth, however it was asked for); ``every_gpu`` when all.
    ``gpu_names`` are those that a hook of the vendor's runtime opens, by index or UUID. ``access_by`` says by which way (``GpuAccess.by``).
    """

    engine: str
    id: str
    name: str
    image: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    running: bool = True
    cgroup_path: str = ""
    bind_sources: Mapping[str, int] = field(default_factory=dict)
    gpu_minors: frozenset[int] = frozenset()
    gpu_names: frozenset[str] = frozenset()
    every_gpu: bool = False
    privileged: bool = False
    created_at: float = 0.0
    started_at: float = 0.0
    access_by: str = ""


@dataclass(frozen=True)
class ProcessFacts:
    """A process that NVML reports on a GPU. (``pid``, ``start_ticks``) is its identity; ``login_uid`` None when the kernel has none."""

    pid: int
    start_ticks: int
    uid: int
    login_uid: int | None
    cgroup_path: str
    command: str
    executable: str
    gpu_uuid: str
    gpu_instance: int | None
    memory_bytes: int | None


@dataclass(frozen=True)
class People:
    """Names of uids and homes of names, as the account database says."""

    names: Mapping[int, str]
    homes: Mapping[str, str]

    def uid_of(self, name: str) -> int | None:
        """The uid of a name, or None."""
        return next((uid for uid, known in self.names.items() if known == name), None)
