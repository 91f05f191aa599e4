# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which GPUs a container can open, read from its OCI spec: what the device cgroup allows, however it was asked for.

CDI, ``--device`` and ``--privileged`` end in the rules of ``linux.resources.devices``. The vendor's runtime in its legacy mode, and
Docker's ``--gpus`` with it, put a hook into the spec instead, which opens at the start what the variable NVIDIA_VISIBLE_DEVICES of the
container's process names (nvidia-container-toolkit, cmd/nvidia-container-runtime-hook). So these two are the places to look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NVIDIA_MAJOR = 195
_LAST_GPU_MINOR = 247
"""Minors above are nvidia-modeset (254) and nvidiactl (255), not GPUs."""
_HOOKS = ("nvidia-container-runtime-hook", "nvidia-container-toolkit")
_HOOK_STAGES = ("prestart", "createRuntime", "createContainer")
_VARIABLE = "NVIDIA_VISIBLE_DEVICES="
_NONE = frozenset({"", "none", "void"})


@dataclass(frozen=True)
class GpuAccess:
    """The minors N of /dev/nvidiaN that can be opened; ``every`` when no number is excluded. ``privileged``: all devices of the host.

    ``names`` are GPUs that a hook opens, by index, UUID or MIG UUID, as the variable has them.
    """

    minors: frozenset[int] = frozenset()
    every: bool = False
    privileged: bool = False
    names: frozenset[str] = frozenset()
    hook: bool = False

    @property
    def any(self) -> bool:
        """Whether a GPU can be opened at all."""
        return self.every or bool(self.minors) or bool(self.names)

    @property
    def by(self) -> str:
        """The way: privileged, runtime (the vendor's hook and the variable), devices (CDI, ``--device``, a rule); "" for none."""
        if self.privileged:
            return "privileged"
        if self.hook and self.any:
            return "runtime"
        return "devices" if self.any else ""


def gpu_access(spec: Mapping[str, Any]) -> GpuAccess:
    """The GPUs that ``spec`` (an OCI config.json) opens. Later rules win over earlier ones, as in the kernel's device cgroup."""
    rules = ((spec.get("linux") or {}).get("resources") or {}).get("devices") or ()
    minors: set[int] = set()
    every = privileged = False
    for rule in rules:
        kind, major, minor, allow = rule.get("type") or "a", rule.get("major"), rule.get("minor"), bool(rule.get("allow"))
        if kind not in ("a", "c") or major not in (None, -1, NVIDIA_MAJOR):
            continue
        if allow and not set(rule.get("access") or "rwm") & {"r", "w"}:
            continue  # to make a node is not to open it
        if minor in (None, -1):
            every, minors = allow, set()
            privileged = allow and kind == "a"
        elif minor <= _LAST_GPU_MINOR:
            (minors.add if allow else minors.discard)(minor)
    names = _by_hook(spec)
    every = every or "all" in names
    return GpuAccess(frozenset() if every else frozenset(minors), every, privileged, frozenset() if every else names, hook=bool(names))


def _by_hook(spec: Mapping[str, Any]) -> frozenset[str]:
    """What the vendor's hook opens, where the spec has it."""
    hooks: Mapping[str, Sequence[Mapping[str, Any]]] = spec.get("hooks") or {}
    paths = [str(hook.get("path", "")) for stage in _HOOK_STAGES for hook in hooks.get(stage) or ()]
    if not any(path.rpartition("/")[2] in _HOOKS for path in paths):
        return frozenset()
    values = [str(one).removeprefix(_VARIABLE) for one in (spec.get("process") or {}).get("env") or () if str(one).startswith(_VARIABLE)]
    named = values[-1].split(",") if values else []
    return frozenset(name.strip() for name in named) - _NONE
