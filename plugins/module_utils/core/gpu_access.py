# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which GPUs a container can open, read from its OCI spec: what the device cgroup allows, however it was asked for.

CDI, ``--device``, ``--privileged`` and the vendor's runtime all end in these rules, so this is the one place to look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NVIDIA_MAJOR = 195
_LAST_GPU_MINOR = 247
"""Minors above are nvidia-modeset (254) and nvidiactl (255), not GPUs."""


@dataclass(frozen=True)
class GpuAccess:
    """The minors N of /dev/nvidiaN that can be opened; ``every`` when no number is excluded. ``privileged``: all devices of the host."""

    minors: frozenset[int] = frozenset()
    every: bool = False
    privileged: bool = False

    @property
    def any(self) -> bool:
        """Whether a GPU can be opened at all."""
        return self.every or bool(self.minors)


def gpu_access(spec: dict[str, Any]) -> GpuAccess:
    """The GPUs that ``spec`` (an OCI config.json) opens. Later rules win over earlier ones, as in the kernel's device cgroup."""
    rules = ((spec.get("linux") or {}).get("resources") or {}).get("devices") or ()
    minors: set[int] = set()
    every = privileged = False
    for rule in rules:
        kind, major, minor, allow = rule.get("type") or "a", rule.get("major"), rule.get("minor"), bool(rule.get("allow"))
        if kind not in ("a", "c") or major not in (None, -1, NVIDIA_MAJOR):
            continue
        if minor in (None, -1):
            every, minors = allow, set()
            privileged = allow and kind == "a"
        elif minor <= _LAST_GPU_MINOR:
            (minors.add if allow else minors.discard)(minor)
    return GpuAccess(frozenset() if every else frozenset(minors), every, privileged)
