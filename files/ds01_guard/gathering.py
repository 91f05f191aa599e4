# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Collects what the rules need: the container's labels from dockerd's own file, its claim, owners of joined namespaces."""

from __future__ import annotations

import os

from ds01.core.exact_text import is_decimal, is_docker_id
from ds01.core.oci_facts import ClaimFacts, GuardFacts
from ds01.core.oci_json import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UNIFIED = "/sys/fs/cgroup/cgroup.controllers"
"""There only where cgroup v2 is mounted in place of v1 (cgroups(7))."""


def _labels(data_root: str, container_id: str) -> dict[str, str]:
    """The labels as dockerd stored them; only root can write there. Raises OSError or ValueError when they can't be read."""
    path = os.path.join(data_root, "containers", container_id, "config.v2.json")
    with open(path, encoding="utf-8") as stream:
        config = read_json(stream.read())
    return dict((config.get("Config") or {}).get("Labels") or {})


def _claim(cdi_dir: str, claim_id: str) -> ClaimFacts:
    """What the claim's CDI spec may add; nothing when there is no such file."""
    try:
        with open(os.path.join(cdi_dir, f"ds01-{claim_id}.json"), encoding="utf-8") as stream:
            spec = read_json(stream.read())
    except FileNotFoundError:
        return ClaimFacts()
    edits = [spec.get("containerEdits") or {}] + [device.get("containerEdits") or {} for device in spec.get("devices") or ()]
    nodes: set[tuple[int, int]] = set()
    sources: set[str] = set()
    hooks: set[str] = set()
    for edit in edits:
        for node in edit.get("deviceNodes") or ():
            number = _device_number(node)
            if number is not None:
                nodes.add(number)
        sources.update(mount.get("hostPath", "") for mount in edit.get("mounts") or ())
        hooks.update(hook.get("path", "") for hook in edit.get("hooks") or ())
    return ClaimFacts(frozenset(nodes), frozenset(sources - {""}), frozenset(hooks - {""}))


def _device_number(node: dict[str, Any]) -> tuple[int, int] | None:
    if "major" in node:
        return int(node["major"]), int(node.get("minor", 0))
    try:
        status = os.stat(node.get("hostPath") or node.get("path", ""))
    except OSError:
        return None
    return os.major(status.st_rdev), os.minor(status.st_rdev)


def _process_of(path: str) -> str | None:
    """PID of ``/proc/PID/ns/KIND``; None for every other path."""
    words = path.split("/")
    if len(words) != 5 or words[0] or words[1] != "proc" or words[3] != "ns":
        return None
    kind = words[4]
    return words[2] if is_decimal(words[2]) and kind.isascii() and kind.isalpha() and kind.islower() else None


def _namespace_owners(spec: dict[str, Any]) -> dict[str, int | None]:
    """For each /proc/PID/ns path that is to be joined: the uid whose slice that process is in."""
    owners: dict[str, int | None] = {}
    for entry in (spec.get("linux") or {}).get("namespaces") or ():
        path = entry.get("path") or ""
        pid = _process_of(path)
        if pid is None:
            continue
        from ds01.core.slice_owner import owner_of_path  # here: few containers join one, and its expressions take long to import

        try:
            with open(f"/proc/{pid}/cgroup", encoding="utf-8") as stream:
                found = owner_of_path(stream.read().rstrip("\n"))
        except OSError:
            found = None
        owners[path] = found[0] if found else None
    return owners


def facts_for(container_id: str, spec: dict[str, Any], settings: dict[str, str]) -> GuardFacts:
    """The facts of this container. One whose id is not Docker's is a build step. Raises OSError or ValueError: then nothing may start."""
    data_root, exec_root = settings["data_root"], settings["exec_root"]
    if not is_docker_id(container_id):
        return GuardFacts(container_id, build=True, data_root=data_root, exec_root=exec_root)
    labels = _labels(data_root, container_id)
    uid = int(labels["ds01.uid"]) if is_decimal(labels.get("ds01.uid", "")) else None
    claim_id = labels.get("ds01.claim") if uid is not None else None
    return GuardFacts(
        container_id,
        uid=uid,
        claim_id=claim_id,
        claim=_claim(settings["cdi_dir"], claim_id) if claim_id else ClaimFacts(),
        namespace_owner=_namespace_owners(spec),
        data_root=data_root,
        exec_root=exec_root,
        unified_cgroups=os.path.exists(_UNIFIED),
    )
