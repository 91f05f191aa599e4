# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A claim as a CDI spec, and back.

The base spec (the vendor's or the simulator's: one device per GPU or MIG UUID, and edits common to all) is reduced to the devices
of the claim, merged into one device named like the claim. The claim itself stands in an annotation of the spec, which Docker
ignores. Format: Container Device Interface specification, github.com/cncf-tags/container-device-interface, SPEC.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .claim import CDI_KIND, Claim, claim_from_dict, claim_to_dict

ANNOTATION = "ds01.infra/claim"
_STRIPPED_ENV = ("NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "NVIDIA_MIG_CONFIG_DEVICES", "NVIDIA_MIG_MONITOR_DEVICES")
_LISTS = ("env", "deviceNodes", "mounts", "hooks", "netDevices")


class CdiSpecError(ValueError):
    """A base spec or a claim's spec that can't be used: says which part and what it should be."""


def spec_for(claim: Claim, base: Mapping[str, Any]) -> dict[str, Any]:
    """The CDI spec that makes exactly the claim's devices reachable; raises CdiSpecError when the base lacks one of them.

    Device nodes are readable and writable for every user inside the container: who may open them is decided by the claim and the
    kernel's device filter, not by file modes, which would lock out containers that do not run as root.
    """
    available = {d["name"]: d for d in _items(base, "devices", "base spec") if isinstance(d, Mapping) and isinstance(d.get("name"), str)}
    edits = [base.get("containerEdits", {})]
    for device in claim.devices:
        if device.cdi_device not in available:
            raise CdiSpecError(
                f"base spec has no device {device.cdi_device!r} ({device.kind}); it has {', '.join(sorted(available)) or 'none'}"
            )
        edits.append(available[device.cdi_device].get("containerEdits", {}))
    merged = _merge(edits)
    return {
        "cdiVersion": _version(merged),
        "kind": CDI_KIND,
        "annotations": {ANNOTATION: json.dumps(claim_to_dict(claim), separators=(",", ":"), sort_keys=True)},
        "devices": [{"name": claim.id, "containerEdits": merged}],
    }


def with_claim(spec: Mapping[str, Any], claim: Claim) -> dict[str, Any]:
    """The same devices with what is now known about the claim (a hold begun or ended).

    The one device of a claim that is ending has another name: no container asks for it, so that no start finds it.
    """
    annotation = json.dumps(claim_to_dict(claim), separators=(",", ":"), sort_keys=True)
    name = claim.id if claim.ending_since is None else f"{claim.id}-ending"
    devices = [{**device, "name": name} for device in _items(spec, "devices", f"spec of {claim.id}") if isinstance(device, Mapping)]
    return {**spec, "annotations": {**spec.get("annotations", {}), ANNOTATION: annotation}, "devices": devices}


def empty_spec(claim: Claim) -> dict[str, Any]:
    """A spec that opens nothing, to keep a claim in whose own spec can't be read any more."""
    return {"cdiVersion": "0.6.0", "kind": CDI_KIND, "devices": [{"name": claim.id, "containerEdits": _merge(())}]}


def claim_of(spec: Mapping[str, Any]) -> Claim:
    """The claim that a spec carries; raises CdiSpecError."""
    annotations = spec.get("annotations")
    text = annotations.get(ANNOTATION) if isinstance(annotations, Mapping) else None
    if not isinstance(text, str):
        raise CdiSpecError(f"no annotation {ANNOTATION}: not a claim's spec")
    try:
        data = json.loads(text)
        if not isinstance(data, dict):
            raise CdiSpecError(f"annotation {ANNOTATION}: expected an object")
        return claim_from_dict(data)
    except ValueError as error:
        raise CdiSpecError(f"annotation {ANNOTATION}: {error}") from error


def to_text(spec: Mapping[str, Any]) -> str:
    """The file's text. Its first line holds all but the devices, so that a reader of claims needs that line alone."""
    head = {k: v for k, v in spec.items() if k != "devices"}
    return json.dumps(head, separators=(",", ":"))[:-1] + ',\n"devices":' + json.dumps(spec["devices"], separators=(",", ":")) + "}\n"


def claim_of_first_line(line: str) -> Claim:
    """The claim in the first line of ``to_text``'s text; raises CdiSpecError for any other line."""
    try:
        head = json.loads(line.rstrip().removesuffix(",") + "}")
    except ValueError as error:
        raise CdiSpecError(f"not the first line of a claim's spec: {error}") from error
    return claim_of(head)


def numbered(base: Mapping[str, Any], stat: Callable[[str], tuple[int, int] | None]) -> dict[str, Any]:
    """The base spec with the numbers of every device node that leaves them out, for readers that don't see the host's /dev.

    ``stat`` gives (major, minor) by path, None for a node that is not there: it stays as it is.
    """

    def node(item: Mapping[str, Any]) -> Mapping[str, Any]:
        if "major" in item and "minor" in item:
            return item
        numbers = stat(item.get("hostPath") or item["path"])
        return item if numbers is None else {**item, "type": "c", "major": numbers[0], "minor": numbers[1]}

    def edits(item: Mapping[str, Any]) -> dict[str, Any]:
        found = dict(item)
        if found.get("containerEdits", {}).get("deviceNodes"):
            found["containerEdits"] = {**found["containerEdits"], "deviceNodes": [node(n) for n in found["containerEdits"]["deviceNodes"]]}
        return found

    return {**edits(base), "devices": [edits(d) for d in _items(base, "devices", "base spec")]}


def device_nodes(spec: Mapping[str, Any], stat: Callable[[str], tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """(major, minor) of every device node of a spec made by ``spec_for``, sorted, once each.

    ``stat`` gives the numbers of a node on the host by its path, for the nodes whose numbers the spec leaves out.
    """
    found: set[tuple[int, int]] = set()
    for device in _items(spec, "devices", "spec"):
        for node in device.get("containerEdits", {}).get("deviceNodes", ()):
            if "major" in node and "minor" in node:
                found.add((int(node["major"]), int(node["minor"])))
            else:
                found.add(stat(node.get("hostPath") or node["path"]))
    return tuple(sorted(found))


def _merge(edits: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """All edits in one, in order, each thing once; environment that names devices is replaced by one that names none."""
    merged: dict[str, Any] = {}
    for edit in edits:
        for key in _LISTS:
            for item in edit.get(key) or ():
                cleaned = _open_node(item) if key == "deviceNodes" else item
                if key == "env" and str(item).split("=", 1)[0] in _STRIPPED_ENV:
                    continue
                if cleaned not in merged.setdefault(key, []):
                    merged[key].append(cleaned)
        if edit.get("intelRdt"):
            merged["intelRdt"] = edit["intelRdt"]
    merged.setdefault("env", []).append("NVIDIA_VISIBLE_DEVICES=void")
    return merged


def _open_node(node: Mapping[str, Any]) -> dict[str, Any]:
    """A device node without an owner or group of the host."""
    kept = {k: v for k, v in node.items() if k not in ("uid", "gid", "fileMode")}
    return {**kept, "fileMode": 0o666}


def _version(edits: Mapping[str, Any]) -> str:
    """The lowest cdiVersion that has what the edits use: annotations need 0.6.0, intelRdt 0.7.0, netDevices 1.1.0."""
    if edits.get("netDevices"):
        return "1.1.0"
    return "0.7.0" if "intelRdt" in edits else "0.6.0"


def _items(spec: Mapping[str, Any], key: str, what: str) -> list[Any]:
    value = spec.get(key)
    if not isinstance(value, list):
        raise CdiSpecError(f"{what}: {key} is {type(value).__name__}, expected a list")
    return value
