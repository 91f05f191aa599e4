# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Containers that root runs with another engine than dockerd: podman's, and those in containerd's other namespaces.

Read from the files that these engines keep for their runtime, below directories of root's. What people run for themselves without root
(rootless podman) lies in their homes and is not read: it opens no GPU that their session may not open, and a process of it that uses one
is seen as every process is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .core.cgroup_path import place
from .core.gpu_access import gpu_access
from .core.workload_facts import ContainerFacts
from .proc_facts import cgroup_of

CONTAINERD_TASKS = "/run/containerd/io.containerd.runtime.v2.task"
PODMAN_RUN = "/run/containers/storage/overlay-containers"
PODMAN_STATE = "/var/lib/containers/storage/overlay-containers"
_DOCKERD = "moby"
_ID = re.compile(r"[0-9a-f]{64}")
_MOST_BYTES = 16 * 1024 * 1024

Found = tuple[str, str, str, int]
"""Engine, id, directory of the spec, pid."""


@dataclass(frozen=True)
class ForeignEngines:
    """Where the engines keep their files."""

    containerd: str = CONTAINERD_TASKS
    podman_run: str = PODMAN_RUN
    podman_state: str = PODMAN_STATE
    proc: str = "/proc"

    def running(self) -> tuple[Found, ...]:
        """Every running container, without a look at what it is: cheap enough to be asked every second."""
        return tuple(sorted((*self._containerd(), *self._podman())))

    def facts(self, found: Found) -> ContainerFacts | None:
        """What one of them is; None when it is gone or its files can't be read."""
        engine, container_id, directory, pid = found
        spec = _json(os.path.join(directory, "config.json"))
        cgroup = cgroup_of(pid, self.proc)
        if not isinstance(spec, dict) or not cgroup:
            return None
        try:
            access = gpu_access(spec)
        except (AttributeError, TypeError):
            return None
        name, image = self._names(engine, container_id, spec)
        return ContainerFacts(
            engine=engine,
            id=container_id,
            name=name,
            image=image,
            cgroup_path=cgroup,
            gpu_minors=access.minors,
            gpu_names=access.names,
            every_gpu=access.every,
            privileged=access.privileged,
            access_by=access.by,
        )

    def _containerd(self) -> Iterator[Found]:
        for namespace in _directories(self.containerd):
            for name in _directories(os.path.join(self.containerd, namespace)) if namespace != _DOCKERD else ():
                directory = os.path.join(self.containerd, namespace, name)
                pid = _number(os.path.join(directory, "init.pid"))
                if pid is not None:
                    yield "containerd", name, directory, pid

    def _podman(self) -> Iterator[Found]:
        for name in _directories(self.podman_run):
            pid = _number(os.path.join(self.podman_run, name, "userdata", "pidfile")) if _ID.fullmatch(name) else None
            # The file outlives the container; a pid that was given anew is in another cgroup.
            if pid is not None and place(cgroup_of(pid, self.proc)).container_id == name:
                yield "podman", name, os.path.join(self.podman_state, name, "userdata"), pid

    def _names(self, engine: str, container_id: str, spec: dict[str, Any]) -> tuple[str, str]:
        notes = spec.get("annotations")
        notes = notes if isinstance(notes, dict) else {}
        if engine == "podman":
            listed = _json(os.path.join(self.podman_state, "containers.json"))
            for entry in listed if isinstance(listed, list) else ():
                if isinstance(entry, dict) and entry.get("id") == container_id:
                    return str((entry.get("names") or [container_id[:12]])[0]), str(notes.get("io.podman.annotations.image", ""))
        return str(notes.get("nerdctl/name") or container_id[:12]), str(notes.get("io.kubernetes.cri.image-name", ""))


def _directories(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as stream:
            text = stream.read(20).strip()
    except (OSError, ValueError):
        return None
    return int(text) if text.isdigit() else None


def _json(path: str) -> Any:
    try:
        with open(path, "rb") as stream:
            return json.loads(stream.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
