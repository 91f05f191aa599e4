# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The bundle that dockerd or BuildKit made for runc: its spec is read, and written again with what every container gets."""

from __future__ import annotations

import os

from ds01.core.oci_json import read_json, write_json
from ds01.core.slice_names import BUILD, ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def build_cgroup(container_id: str, systemd_cgroup: bool) -> str:
    """The ``cgroupsPath`` of a build step, whatever parent the client asked for, in the form that the runtime's cgroup driver takes."""
    return f"{BUILD}:build:{container_id}" if systemd_cgroup else f"/{ROOT}/{BUILD}/build-{container_id}"


def read_spec(bundle: str) -> dict[str, Any]:
    """The bundle's config.json. Raises OSError or ValueError."""
    with open(os.path.join(bundle, "config.json"), encoding="utf-8") as stream:
        spec = read_json(stream.read())
    if not isinstance(spec, dict):
        raise ValueError("config.json holds no object")
    return spec


def write_spec(bundle: str, spec: dict[str, Any]) -> None:
    """Replace the bundle's config.json by rename; it holds the container's environment, so only root may read it."""
    path = os.path.join(bundle, "config.json")
    temporary = f"{path}.ds01"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(write_json(spec))
    os.replace(temporary, path)
