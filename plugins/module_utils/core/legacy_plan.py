# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What becomes of a container of before the gate: its owner, what would be refused of it today, and the request that makes it anew.

Labels of a container can't be changed. Carrying one over is: keep its files as an image below its owner's name, and create a container of
that image through the gate, in the owner's name, so that every rule of today judges it. The old one is left as it is, stopped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .container_marks import LEGACY_NAME, UID_LABEL, has_marks, marked
from .gate.identity import Identity
from .gate.made_with import summary

FROM_LABEL = "migrated-from"
TAG = "before-gate"
_KEPT = ("Tty", "OpenStdin", "StdinOnce", "Hostname")
_KEPT_HOST = ("ShmSize", "Memory", "NanoCpus", "Init", "ReadonlyRootfs")


@dataclass(frozen=True)
class Legacy:
    """One container of before the gate. ``user`` and ``uid`` are None when its marks name nobody, or contradict each other.

    ``left_out`` says in words what can't come along; ``body`` is the create request, ``repository`` the image that its files become.
    """

    id: str
    name: str
    image: str
    running: bool
    user: str | None
    uid: int | None
    marked_by: str | None
    left_out: tuple[str, ...]
    new_name: str
    repository: str
    body: Mapping[str, Any]

    @property
    def obstacle(self) -> str | None:
        """Why it can't be carried over now; None when it can."""
        if self.uid is None:
            return "its marks name nobody who has an account here, or two people"
        return "it runs; stop it first" if self.running else None


def is_legacy(labels: Mapping[str, str], name: str) -> bool:
    """Whether a container carries marks of before the gate and none of the gate's."""
    return UID_LABEL not in labels and has_marks(labels, name)


def plan(found: Mapping[str, Any], names: Mapping[int, str], roots: Mapping[int, Sequence[str]]) -> Legacy:
    """The plan for a container as inspect shows it. ``names``: accounts by uid; ``roots``: people's bind roots by uid."""
    config, host = found["Config"], found.get("HostConfig") or {}
    name, labels, mounts = str(found["Name"]).lstrip("/"), config.get("Labels") or {}, found.get("Mounts") or ()
    mark = marked(labels, name, names)
    own_roots = roots.get(mark.uid, ()) if mark is not None else ()
    binds = [one for one in mounts if one.get("Type") == "bind"]
    carried = [one for one in binds if any(_below(str(one.get("Source")), root) for root in own_roots)]
    new_name = _new_name(name)
    slug = re.sub(r"[^a-z0-9]+", "-", new_name.lower()).strip("-") or "saved"
    return Legacy(
        id=str(found["Id"]),
        name=name,
        image=str(config.get("Image", "")),
        running=bool((found.get("State") or {}).get("Running")),
        user=None if mark is None else mark.user,
        uid=None if mark is None else mark.uid,
        marked_by=None if mark is None else mark.how,
        left_out=tuple(_left_out(host, mounts, labels, carried)),
        new_name=new_name,
        repository="" if mark is None else f"{Identity(mark.uid, mark.user or '').namespaces[0]}/{slug}",
        body=_body(str(found["Id"]), config, host, carried),
    )


def _new_name(name: str) -> str:
    """The name without the uid of before; one without it gets a suffix, because the old container keeps its own."""
    return name.rpartition("._.")[0] if LEGACY_NAME.fullmatch(name) else f"{name}-new"


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _left_out(
    host: Mapping[str, Any], mounts: Sequence[Mapping[str, Any]], labels: Mapping[str, str], carried: Sequence[Mapping[str, Any]]
) -> list[str]:
    left = [one for one in mounts if one not in carried]
    words = summary(host, left, labels)
    words += [f"the volume {one['Name']} with its files" for one in mounts if one.get("Type") == "volume" and one.get("Name")]
    mode = str(host.get("NetworkMode") or "")
    if mode not in ("", "default", "bridge", "none", "host"):
        words.append(f"the network {mode[:80]}")
    return words


def _body(container_id: str, config: Mapping[str, Any], host: Mapping[str, Any], binds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The create request, without its image; command, environment and user stand in the image that the files become."""
    built: dict[str, Any] = {key: host[key] for key in _KEPT_HOST if host.get(key)}
    if binds:
        built["Binds"] = [f"{one['Source']}:{one['Destination']}:{'rw' if one.get('RW', True) else 'ro'}" for one in binds]
    ports = host.get("PortBindings") or {}
    if ports:
        built["PortBindings"] = {port: [{"HostPort": _port(one)} for one in bound or ()] for port, bound in ports.items()}
    count = sum(_devices(request) for request in host.get("DeviceRequests") or ())
    if count:
        built["DeviceRequests"] = [{"Driver": "", "Count": count, "Capabilities": [["gpu"]]}]
    return {**{key: config[key] for key in _KEPT if config.get(key)}, "Labels": {FROM_LABEL: container_id}, "HostConfig": built}


def _port(bound: Mapping[str, Any]) -> str:
    port = str(bound.get("HostPort") or "")
    return port if port.isdigit() and int(port) >= 1024 else ""


def _devices(request: Mapping[str, Any]) -> int:
    """How many GPUs a request of before asked for; "all" was one of the platform's allocations."""
    ids = request.get("DeviceIDs") or ()
    return len(ids) if ids else max(int(request.get("Count") or 0), 1)
