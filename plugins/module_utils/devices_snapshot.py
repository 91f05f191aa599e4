# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The published snapshot of GPUs and MIG instances: ``/run/ds01/devices.json``, replaced by rename, readable by all.

``publish`` also refreshes the vendor's CDI spec beside it (``cdi-base.json``), because both describe the same devices.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from .core.cdi_spec import numbered
from .core.devices import Inventory
from .core.devices_json import SnapshotError, from_json, to_json
from .device_node import numbers_or_none

_LOG = logging.getLogger("ds01.devices_snapshot")
DEVICES = Path("/run/ds01/devices.json")
CDI_BASE = Path("/run/ds01/cdi-base.json")
RELEASE_PROGRAMS = "/opt/ds01/current/bin"
GENERATOR_TIMEOUT_S = 120


class PublishError(RuntimeError):
    """The snapshot or the CDI base spec couldn't be made; nothing half-written is left."""


def load(path: Path | str = DEVICES) -> Inventory:
    """The inventory that was published last.

    Raises SnapshotError when the file is absent or isn't a snapshot.
    """
    try:
        return from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror}; `ds01-mig publish` writes it") from error
    except json.JSONDecodeError as error:
        raise SnapshotError(f"{path}: not JSON ({error})") from error
    except SnapshotError as error:
        raise SnapshotError(f"{path}: {error}") from error


def is_current(inventory: Inventory, devices: Path = DEVICES, cdi_base: Path = CDI_BASE) -> bool:
    """Whether the published snapshot shows the same devices and the CDI base spec is there."""
    try:
        before = load(devices)
    except SnapshotError:
        return False
    same = (before.gpus, before.driver, before.simulated) == (inventory.gpus, inventory.driver, inventory.simulated)
    return same and cdi_base.is_file()


def cdi_command(simulated: bool) -> list[str]:
    """The program that describes this host's devices as a CDI spec, by UUID, on its standard output."""
    if simulated:
        return [_program("ds01-gpusim"), "cdi"]
    return [_program("nvidia-ctk"), "cdi", "generate", "--format=json", "--device-name-strategy=uuid"]


def _program(name: str) -> str:
    """Where the program is: on PATH, or among the programs of the release in force."""
    return shutil.which(name) or shutil.which(name, path=RELEASE_PROGRAMS) or name


def publish(
    inventory: Inventory,
    devices: Path = DEVICES,
    cdi_base: Path = CDI_BASE,
    generate: Callable[[bool], str] | None = None,
) -> None:
    """Write the snapshot and the CDI base spec, the spec first: who sees a device in the snapshot finds it in the spec too.

    Where the generator fails (one GPU fell off the bus, say) and the spec that is there has all healthy devices, that one stays.
    Raises PublishError with the generator's own words, before anything is written.
    """
    try:
        spec = (generate or generate_cdi)(inventory.simulated)
        _check_spec(spec, inventory)
    except PublishError as error:
        if not _still_good(cdi_base, inventory):
            raise
        _LOG.warning("%s; %s has all healthy devices and stays", error, cdi_base)
    else:
        # Those who use the spec may not see the host's /dev: the vendor's paths get their numbers here.
        _replace(cdi_base, json.dumps(numbered(json.loads(spec), numbers_or_none)) + "\n")
    _replace(devices, json.dumps(to_json(inventory), indent=1) + "\n")


def generate_cdi(simulated: bool) -> str:
    """The vendor's CDI spec (JSON text) for all devices. Raises PublishError."""
    command = cdi_command(simulated)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GENERATOR_TIMEOUT_S)
    except FileNotFoundError as error:
        raise PublishError(f"{command[0]}: not installed; it makes {CDI_BASE}") from error
    except subprocess.TimeoutExpired as error:
        raise PublishError(f"{' '.join(command)}: no answer within {GENERATOR_TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise PublishError(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _check_spec(spec: str, inventory: Inventory) -> None:
    try:
        document = json.loads(spec)
        names = {device["name"] for device in document["devices"]}
    except (ValueError, KeyError, TypeError) as error:
        raise PublishError(f"the generated CDI spec isn't one: {error!r}") from error
    healthy = [g for g in inventory.gpus if g.healthy]
    wanted = {i.mig_uuid for g in healthy for i in g.instances} | {g.uuid for g in healthy if not g.mig_enabled}
    missing = sorted(wanted - names)
    if missing:
        raise PublishError(f"the generated CDI spec lacks {', '.join(missing)}; it has {', '.join(sorted(names)) or 'no device'}")


def _still_good(cdi_base: Path, inventory: Inventory) -> bool:
    try:
        _check_spec(cdi_base.read_text(encoding="utf-8"), inventory)
    except (OSError, PublishError):
        return False
    return True


def _replace(path: Path, text: str) -> None:
    """Write beside, sync, rename: a reader sees the old file or the new one. World-readable, writable by root."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
