# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Processes on a GPU, of all kinds that NVML tells apart, each once.

Run it in the host's pid namespace: the driver leaves out processes that the caller's namespace doesn't know. As root the GPU's handle
answers for all of its MIG instances together.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .nvml_binding import NvmlNotSupported, call

PROC = Path("/proc")
_QUERIES = (
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "nvmlDeviceGetMPSComputeRunningProcesses_v3",
)
_NO_INSTANCE = 0xFFFFFFFF


@dataclass(frozen=True)
class GpuProcess:
    """One process on one GPU or MIG instance. ``memory`` in bytes, None where the driver doesn't say."""

    pid: int
    gi_id: int | None
    ci_id: int | None
    memory: int | None


def processes(handle: Any) -> tuple[GpuProcess, ...]:
    """Compute, graphics and MPS processes of a GPU, by pid. Raises NvmlError."""
    found: dict[tuple[int, int | None, int | None], int | None] = {}
    for query in _QUERIES:
        with contextlib.suppress(NvmlNotSupported):
            for entry in call(query, handle):
                key = (int(entry.pid), _instance(entry.gpuInstanceId), _instance(entry.computeInstanceId))
                memory = None if entry.usedGpuMemory is None else int(entry.usedGpuMemory)
                before = found.get(key)
                found[key] = memory if before is None else max(before, memory or 0)
    return tuple(GpuProcess(pid, gi, ci, memory) for (pid, gi, ci), memory in sorted(found.items(), key=lambda item: item[0][0]))


def in_words(pid: int) -> str:
    """The process for a message: its pid and what it calls itself."""
    try:
        name = (PROC / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return f"process {pid}"
    return f"process {pid} ({name})"


def holders(device_minor: int) -> tuple[int, ...]:
    """Pids that have /dev/nvidiaN open, listed by NVML or not (DCGM, a monitor): what keeps a GPU's mode from being switched."""
    path = f"/dev/nvidia{device_minor}"
    return tuple(sorted(int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit() and _has_open(entry, path)))


def _has_open(process: Path, path: str) -> bool:
    try:
        return any(link.readlink() == Path(path) for link in (process / "fd").iterdir())
    except OSError:
        return False


def _instance(value: int | None) -> int | None:
    return None if value is None or value == _NO_INSTANCE else int(value)
