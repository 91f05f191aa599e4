# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The process that talks to NVML, and nothing else does: a driver that hangs takes this down and the watcher lives on.

Writes one JSON line a round to standard output: devices, sensors and processes of every GPU. Ends when its reader has gone.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
from pathlib import Path
from typing import Any

from ds01.core.devices import Inventory
from ds01.core.devices_json import SnapshotError, to_json
from ds01.devices_snapshot import load
from ds01.nvml import Nvml, open_nvml
from ds01.nvml_binding import NvmlError
from ds01.nvml_processes import processes
from ds01.nvml_sensors import read_sensors
from ds01.nvml_xid import XidCounter

MAX_SESSION_FAILURES = 3
AGAIN_S = 0.3


def look(nvml: Nvml, xids: dict[str, dict[str, int]], previous: Inventory | None = None) -> tuple[dict[str, Any], Inventory]:
    """Everything about every GPU at one moment, and the inventory in it. A GPU that fails is named in ``failed`` and does not hide others.

    ``xids``: errors counted so far, by GPU and number. ``previous``: what was there before; a GPU that is lost stays, as not healthy.
    """
    try:
        inventory = nvml.inventory(previous)
    except NvmlError:  # an instance that is being made or removed in this moment
        threading.Event().wait(AGAIN_S)
        inventory = nvml.inventory(previous)
    gpus: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for gpu in inventory.gpus:
        try:
            handle = nvml.handle(gpu.uuid)
            running = processes(handle)
            gpus[gpu.uuid] = {
                "sensors": dataclasses.asdict(read_sensors(handle)),
                "processes": [[one.pid, one.gi_id, one.memory] for one in running],
            }
        except NvmlError as error:
            failed[gpu.uuid] = str(error)
    return {"inventory": to_json(inventory), "gpus": gpus, "failed": failed, "xids": xids}, inventory


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def published(path: str) -> Inventory | None:
    """The devices that were published on this host, so that one that is lost from the beginning is missed; None where there are none."""
    try:
        return load(Path(path))
    except (SnapshotError, OSError):
        return None


def work(interval: float, devices: str = "/run/ds01/devices.json") -> int:
    """Look every ``interval`` seconds until the reader is gone; returns 1 when NVML cannot be had at all."""
    pause = threading.Event()
    try:
        with open_nvml() as nvml:
            errors = XidCounter()
            errors.listen(handle for _, handle in nvml.handles())
            failures = 0
            inventory = published(devices)
            while failures < MAX_SESSION_FAILURES:
                try:
                    document, inventory = look(nvml, errors.counts, inventory)
                    _say(document)
                    failures = 0
                except NvmlError as error:
                    failures += 1
                    _say({"error": str(error)})
                if not errors.wait(interval):
                    pause.wait(interval)
    except NvmlError as error:
        _say({"error": str(error)})
        return 1
    except BrokenPipeError:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(work(float(sys.argv[1]), *sys.argv[2:3]))
