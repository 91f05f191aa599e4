# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Devices, limits and base specs for tests of allocation: A100-40GB, the geometry of its MIG profiles, and a CDI spec for both."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from ds01.core.claim import Claim, ClaimedDevice
from ds01.core.devices import Gpu, Inventory, MigInstance
from ds01.core.devices_json import to_json
from ds01.core.limits import AggregateLimits, ContainerLimits, GpuLimits, LifecycleLimits, Limits

# name: (profile id, compute slices, memory slices, MiB)
PROFILES = {
    "1g.5gb": (19, 1, 1, 4864),
    "1g.10gb": (15, 1, 2, 9856),
    "2g.10gb": (14, 2, 2, 9856),
    "3g.20gb": (9, 3, 4, 19968),
    "4g.20gb": (5, 4, 4, 19968),
    "7g.40gb": (0, 7, 8, 40192),
}
_GI_BASE = {8: 0, 4: 1, 2: 3, 1: 7}


def uuid(prefix: str, number: int) -> str:
    """A UUID that says what it is for."""
    return f"{prefix}-{number:08x}-0000-4000-8000-000000000000"


def whole_gpu(index: int, **changes: Any) -> Gpu:
    """A GPU with MIG off."""
    values: dict[str, Any] = {"model": "NVIDIA A100-SXM4-40GB", "memory_mib": 40960, "mig_enabled": False, "compute_slices": 7}
    return Gpu(uuid("GPU", index), index, index, **{**values, **changes})


def mig_gpu(index: int, layout: list[tuple[str, int]], **changes: Any) -> Gpu:
    """A GPU with MIG on and instances (profile, start)."""
    instances = tuple(_instance(index, name, start) for name, start in layout)
    return whole_gpu(index, mig_enabled=True, instances=instances, **changes)


def _instance(index: int, name: str, start: int) -> MigInstance:
    profile_id, compute, size, memory = PROFILES[name]
    gi = _GI_BASE[size] + start // size
    cap = 3 + 135 * index + 9 * gi
    return MigInstance(
        uuid("GPU", index), gi, 0, profile_id, name, start, size, compute, memory, uuid("MIG", index * 16 + gi), cap, cap + 1
    )


ALL_BALANCED = [("3g.20gb", 4), ("2g.10gb", 0), ("1g.5gb", 2), ("1g.5gb", 3)]
SEVEN = [("1g.5gb", i) for i in range(7)]


def inventory(*gpus: Gpu) -> Inventory:
    """An inventory of these GPUs."""
    return Inventory(tuple(gpus), "580.65.06-sim", True, 0.0)


def limits(user: str = "student", group: str = "students", **gpu: Any) -> Limits:
    """Limits of a person: one GPU-equivalent, one device, no full GPU, unless said otherwise (also ``gpu_hold``, ``runtime``)."""
    hold, runtime = gpu.pop("gpu_hold", 0), gpu.pop("runtime", None)
    values: dict[str, Any] = {
        "equivalents": Fraction(1),
        "devices_per_container": 1,
        "full_gpu": False,
        "by_uuid": False,
        "profiles": None,
        "pools": ("interactive",),
    }
    return Limits(
        user=user,
        group=group,
        priority=0,
        admin=False,
        bare_metal=False,
        gpu=GpuLimits(**{**values, **gpu}),
        container=ContainerLimits(None, 4.0, 2**33, 2**30, 4096),
        aggregate=AggregateLimits(8.0, 2**34, 2**34 + 2**30, 8192, 100, None, None, None),
        lifecycle=LifecycleLimits(None, runtime, hold, None, None, 30, 2.0),
        bind_roots=(),
    )


def claim(number: int, devices: tuple[ClaimedDevice, ...], uid: int = 1000, **changes: Any) -> Claim:
    """A claim of ``uid`` on those devices, granted at 1000 s."""
    values: dict[str, Any] = {
        "user": f"u{uid}",
        "container_id": f"{number:064x}",
        "container_name": f"box{number}",
        "request": "all",
        "granted_at": 1000.0,
        "generation": f"{number:016x}",
        "renewed_at": 1000.0,
    }
    return Claim(id=f"c{number:012x}", uid=uid, devices=devices, **{**values, **changes})


def base_spec(stock: Inventory) -> dict[str, Any]:
    """A vendor's CDI spec for every device: a GPU with MIG off by itself, otherwise its instances."""
    devices = []
    for gpu in stock.gpus:
        node = {"path": f"/dev/nvidia{gpu.minor}", "type": "c", "major": 195, "minor": gpu.minor, "gid": 44, "fileMode": 432}
        if not gpu.mig_enabled:
            devices.append({"name": gpu.uuid, "containerEdits": {"deviceNodes": [node]}})
        for item in gpu.instances:
            caps = [
                {"path": f"/dev/nvidia-caps/nvidia-cap{minor}", "type": "c", "major": 237, "minor": minor}
                for minor in (item.gi_minor, item.ci_minor)
            ]
            devices.append({"name": item.mig_uuid, "containerEdits": {"deviceNodes": [node, *caps]}})
    common = {
        "env": ["NVIDIA_VISIBLE_DEVICES=all", "CUDA_VISIBLE_DEVICES=0", "KEPT=1"],
        "deviceNodes": [{"path": "/dev/nvidiactl", "type": "c", "major": 195, "minor": 255}],
        "mounts": [
            {"hostPath": f"/usr/lib/lib{n}.so.1", "containerPath": f"/usr/lib/lib{n}.so.1", "options": ["ro", "nosuid", "nodev", "bind"]}
            for n in range(20)
        ],
        "hooks": [{"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook", "args": ["nvidia-cdi-hook", "update-ldcache"]}],
        "additionalGids": [44],
    }
    return {"cdiVersion": "0.7.0", "kind": "nvidia.com/gpu", "devices": devices, "containerEdits": common}


def publish(directory: Path, stock: Inventory) -> None:
    """Write what ``devices_snapshot.publish`` would: ``devices.json`` and ``cdi-base.json``."""
    (directory / "devices.json").write_text(json.dumps(to_json(stock)))
    (directory / "cdi-base.json").write_text(json.dumps(base_spec(stock)))
