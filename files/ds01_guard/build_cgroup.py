# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Puts a step of an image build into the build slice, whatever parent the client asked for."""

from __future__ import annotations

import os

from ds01.core.oci_json import write_json
from ds01.core.slice_names import BUILD, ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def build_cgroup(container_id: str, systemd_cgroup: bool) -> str:
    """The ``cgroupsPath`` of a build step, in the form that the runtime's cgroup driver takes."""
    return f"{BUILD}:build:{container_id}" if systemd_cgroup else f"/{ROOT}/{BUILD}/build-{container_id}"


def write_spec(bundle: str, spec: dict[str, Any]) -> None:
    """Replace the bundle's config.json by rename."""
    path = os.path.join(bundle, "config.json")
    temporary = f"{path}.ds01"
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.write(write_json(spec))
    os.replace(temporary, path)
