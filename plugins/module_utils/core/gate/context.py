# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the host and the moment contribute to a judgement."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Context:
    """``api_max``: (1, minor), the newest API version spoken, at most 1.51 and the daemon's own; at least 1.45, where Subpath exists.
    ``api_min``: the oldest, the daemon's own and at least 1.41.

    ``created_at``: now, UTC, ISO 8601. ``new_claim_id``: a fresh claim id, used if this request is a create with a GPU.
    ``host_cpus``: CPUs of the host; a container cannot be given more. ``buildkit_allowed``: the runtime guard stands below BuildKit.
    ``networks_per_user``: how many networks one person may have. ``network_default``: the policy's word for a container that asks for no
    network (``per-user``, ``bridge``, ``none``). ``registries``: those that images may come from, None for any.
    ``shared_namespaces``: first components of image names that admins write for everybody. ``layer_quotas``: dockerd can hold a writable
    layer to a size. ``volume_quotas``: and a volume. ``platform``: the daemon's (system, architecture), as Go names them.
    """

    api_max: tuple[int, int]
    created_at: str
    new_claim_id: str
    host_cpus: int
    buildkit_allowed: bool = False
    api_min: tuple[int, int] = (1, 41)
    networks_per_user: int = 16
    network_default: str = "bridge"
    registries: tuple[str, ...] | None = None
    shared_namespaces: tuple[str, ...] = ()
    layer_quotas: bool = False
    volume_quotas: bool = False
    platform: tuple[str, str] = ("linux", "amd64")
