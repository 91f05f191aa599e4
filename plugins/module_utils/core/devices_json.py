# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The inventory as JSON and back: the content of ``/run/ds01/devices.json``.

One format for everybody who writes or reads the snapshot. ``to_json`` gives plain dicts, lists, strings and numbers;
``from_json`` is strict about what it needs and ignores keys that it doesn't know, so that a newer writer can add some.
"""

from __future__ import annotations

from typing import Any

from .devices import Gpu, Inventory, MigInstance, Potential

FORMAT = 1

_INSTANCE_FIELDS: dict[str, type] = {
    "gi_id": int, "ci_id": int, "profile_id": int, "profile": str, "start": int, "size": int, "compute_slices": int,
    "memory_mib": int, "mig_uuid": str, "gi_minor": int, "ci_minor": int,
}  # fmt: skip
_GPU_FIELDS: dict[str, type] = {
    "uuid": str, "index": int, "minor": int, "model": str, "memory_mib": int, "mig_enabled": bool, "compute_slices": int,
    "healthy": bool, "pool": str,
}  # fmt: skip
_POTENTIAL_FIELDS: dict[str, type] = {"profile_id": int, "profile": str, "compute_slices": int, "memory_mib": int}


class SnapshotError(ValueError):
    """The text isn't an inventory: the message says which key is wrong and what would be right."""


def to_json(inventory: Inventory) -> dict[str, Any]:
    """The inventory as a JSON document. ``read_at``: seconds since the epoch, UTC; memory in MiB."""
    return {
        "format": FORMAT,
        "driver": inventory.driver,
        "simulated": inventory.simulated,
        "read_at": inventory.read_at,
        "gpus": [_gpu_to_json(gpu) for gpu in inventory.gpus],
    }


def from_json(document: object) -> Inventory:
    """The inventory in a document made by ``to_json``.

    Raises SnapshotError naming the key that is missing or of the wrong type.
    """
    top = _mapping(document, "document")
    if top.get("format") != FORMAT:
        raise SnapshotError(f"format: is {top.get('format')!r}, this program reads format {FORMAT}")
    driver = _field(top, "driver", str, "document")
    simulated = _field(top, "simulated", bool, "document")
    read_at = top.get("read_at")
    if isinstance(read_at, bool) or not isinstance(read_at, (int, float)):
        raise SnapshotError(f"read_at: is {read_at!r}, expected seconds since the epoch")
    gpus = tuple(_gpu_from_json(item, f"gpus[{i}]") for i, item in enumerate(_items(top, "gpus", "document")))
    return Inventory(gpus=gpus, driver=driver, simulated=simulated, read_at=float(read_at))


def _gpu_to_json(gpu: Gpu) -> dict[str, Any]:
    document: dict[str, Any] = {name: getattr(gpu, name) for name in _GPU_FIELDS}
    document["instances"] = [{name: getattr(i, name) for name in _INSTANCE_FIELDS} for i in gpu.instances]
    if gpu.dynamic:
        document["dynamic"] = [{name: getattr(p, name) for name in _POTENTIAL_FIELDS} for p in gpu.dynamic]
    return document


def _gpu_from_json(item: object, where: str) -> Gpu:
    document = _mapping(item, where)
    values = {name: _field(document, name, kind, where) for name, kind in _GPU_FIELDS.items()}
    instances = tuple(
        _instance_from_json(entry, values["uuid"], f"{where}.instances[{i}]")
        for i, entry in enumerate(_items(document, "instances", where))
    )
    dynamic = tuple(
        _potential_from_json(entry, f"{where}.dynamic[{i}]")
        for i, entry in enumerate(_items(document, "dynamic", where) if "dynamic" in document else ())
    )
    return Gpu(instances=instances, dynamic=dynamic, **values)


def _instance_from_json(item: object, gpu_uuid: str, where: str) -> MigInstance:
    document = _mapping(item, where)
    return MigInstance(gpu_uuid=gpu_uuid, **{name: _field(document, name, kind, where) for name, kind in _INSTANCE_FIELDS.items()})


def _potential_from_json(item: object, where: str) -> Potential:
    document = _mapping(item, where)
    return Potential(**{name: _field(document, name, kind, where) for name, kind in _POTENTIAL_FIELDS.items()})


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SnapshotError(f"{where}: is {type(value).__name__}, expected an object")
    return value


def _items(document: dict[str, Any], key: str, where: str) -> list[object]:
    value = document.get(key)
    if not isinstance(value, list):
        raise SnapshotError(f"{where}.{key}: is {type(value).__name__}, expected a list")
    return value


def _field(document: dict[str, Any], key: str, kind: type, where: str) -> Any:
    if key not in document:
        raise SnapshotError(f"{where}.{key}: is missing")
    value = document[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise SnapshotError(f"{where}.{key}: is {value!r}, expected {kind.__name__}")
    return value
