# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a process's cgroup path (a line of /proc/PID/cgroup, read on the host) says about where it runs.

Forms are those that dockerd, podman, containerd, Slurm and systemd give; of nested engines the outermost counts. Only root makes cgroups
outside of ``user.slice``. Inside, people make and name their own: such a name may say what engine they use, never whose container it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .slice_owner import owner_of_path

_SCOPE = re.compile(r"/(docker|libpod|cri-containerd|crio|nerdctl)-([0-9a-f]{64})\.scope(?:/|$)")
_PLAIN = re.compile(r"/([0-9a-f]{64})(?:/|$)")
_SLURM = re.compile(r"/(?:system\.slice/(?:[^/]+_)?slurmstepd\.scope|slurm(?:_[^/]+)?)/(?:uid_\d+/)?job_(\d+)(?:/|$)")
_LOGIN = re.compile(r"/user\.slice/user-(\d+)\.slice(?:/|$)")
_UNIT = re.compile(r"/system\.slice/(?:[^/]+\.slice/)*([^/]+\.service)(?:/|$)")
_BUILD = re.compile(r"/ds01-build\.slice/(?:build[-:])?([^/]*)")
_ENGINES = {"docker": "docker", "libpod": "podman", "cri-containerd": "containerd", "crio": "cri-o", "nerdctl": "containerd"}


@dataclass(frozen=True)
class Place:
    """``engine`` and ``container_id`` for a container, ``slurm_job`` for a batch job, ``unit`` for a service, ``login_uid`` for a
    person's session (``engine`` is then the one that they run for themselves); ``uid`` and ``claim_id`` when the path lies in a person's
    slice below ds01.slice; ``build`` for a build step."""

    engine: str | None = None
    container_id: str | None = None
    slurm_job: int | None = None
    unit: str | None = None
    login_uid: int | None = None
    uid: int | None = None
    claim_id: str | None = None
    build: bool = False


def path_of(proc_cgroup: str) -> str:
    """The cgroup v2 path in the text of /proc/PID/cgroup; "" when there is none."""
    for line in proc_cgroup.splitlines():
        if line.startswith("0::"):
            return line[3:]
    return ""


def place(path: str) -> Place:
    """Where a process with this cgroup path runs."""
    owner = owner_of_path(path)
    uid, claim_id = owner if owner else (None, None)
    if path.startswith("/ds01.slice/ds01-build.slice/"):
        match = _BUILD.search(path)
        return Place(engine="docker", build=True, container_id=match.group(1) if match else None)
    login = _LOGIN.match(path)
    scope = _SCOPE.search(path)
    if login:
        return Place(f"rootless {_ENGINES[scope.group(1)]}" if scope else None, login_uid=int(login.group(1)))
    job = _SLURM.match(path)
    if scope:
        return Place(_ENGINES[scope.group(1)], scope.group(2), int(job.group(1)) if job else None, uid=uid, claim_id=claim_id)
    if job:
        return Place(slurm_job=int(job.group(1)))
    plain = _PLAIN.search(path)
    if plain:
        return Place("docker", plain.group(1), uid=uid, claim_id=claim_id)
    unit = _UNIT.match(path)
    return Place(unit=unit.group(1) if unit else None, uid=uid, claim_id=claim_id)
