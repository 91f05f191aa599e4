# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a slice uses, from its cgroup v2 files. A file that is not there (a controller that is off) gives None, not zero."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_MOST_BYTES = 1 << 18


@dataclass(frozen=True)
class Pressure:
    """Seconds in which some, or all, tasks of the slice waited for a resource, since the slice was made (kernel: accounting/psi).

    ``full`` is None where the kernel doesn't say (CPU before 5.13).
    """

    some: float
    full: float | None


@dataclass(frozen=True)
class SliceUsage:
    """CPU in seconds, memory in bytes, ``oom_kills`` counted, bytes read and written, pressure by resource (cpu, memory, io)."""

    cpu_seconds: float | None
    memory: int | None
    tasks: int | None
    oom_kills: int | None
    read_bytes: int | None
    written_bytes: int | None
    pressure: dict[str, Pressure]


def read_usage(directory: Path) -> SliceUsage:
    """The use of the slice at ``directory`` (a path below /sys/fs/cgroup)."""
    cpu = _pairs(directory / "cpu.stat")
    events = _pairs(directory / "memory.events")
    transfers = _transfers(directory / "io.stat")
    return SliceUsage(
        None if "usage_usec" not in cpu else cpu["usage_usec"] / 1e6,
        _number(directory / "memory.current"),
        _number(directory / "pids.current"),
        events.get("oom_kill"),
        None if transfers is None else transfers[0],
        None if transfers is None else transfers[1],
        {name: found for name in ("cpu", "memory", "io") if (found := _pressure(directory / f"{name}.pressure")) is not None},
    )


def _lines(path: Path) -> list[str] | None:
    """Read in one call: a scrape reads some hundred of these."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, _MOST_BYTES).decode("ascii", "replace").splitlines()
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _number(path: Path) -> int | None:
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def _pairs(path: Path) -> dict[str, int]:
    """``key number`` lines, as in cpu.stat and memory.events."""
    found = {}
    for line in _lines(path) or ():
        key, _, value = line.partition(" ")
        if value.isdigit():
            found[key] = int(value)
    return found


def _transfers(path: Path) -> tuple[int, int] | None:
    """Bytes read and written over all devices in io.stat; None when the controller is off."""
    lines = _lines(path)
    if lines is None:
        return None
    fields = [field.partition("=") for line in lines for field in line.split()[1:]]
    return (
        sum(int(value) for key, _, value in fields if key == "rbytes"),
        sum(int(value) for key, _, value in fields if key == "wbytes"),
    )


def _pressure(path: Path) -> Pressure | None:
    totals = {}
    for line in _lines(path) or ():
        kind, *fields = line.split()
        totals[kind] = next((int(field[6:]) / 1e6 for field in fields if field.startswith("total=")), 0.0)
    return Pressure(totals["some"], totals.get("full")) if "some" in totals else None
