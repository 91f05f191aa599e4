# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the runtime guard knows about a container beside its OCI spec: whose it is, and what its claim makes reachable.

Plain classes, because the guard runs at each start of a container: importing ``dataclasses`` or ``typing`` would be most of its time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_CAPABILITIES = frozenset(
    "CAP_" + name
    for name in (
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
        "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    )
)  # fmt: skip
"""What dockerd gives a container that asks for nothing (moby, oci/caps/defaults.go)."""


class ClaimFacts:
    """The container edits of a claim's CDI spec: device numbers, mount sources and hook paths that it may bring along."""

    __slots__ = ("device_nodes", "hook_paths", "mount_sources")

    def __init__(
        self,
        device_nodes: frozenset[tuple[int, int]] = frozenset(),
        mount_sources: frozenset[str] = frozenset(),
        hook_paths: frozenset[str] = frozenset(),
    ) -> None:
        self.device_nodes = device_nodes
        self.mount_sources = mount_sources
        self.hook_paths = hook_paths


class GuardFacts:
    """``uid`` is None for a container without the gate's labels; ``build`` marks a step of an image build.

    ``namespace_owner`` maps the path of a namespace to join to the uid whose container it belongs to (None: nobody's).
    ``data_root`` and ``exec_root`` are dockerd's own directories; ``unified_cgroups``: the host has cgroup v2 alone.
    """

    __slots__ = ("build", "claim", "claim_id", "container_id", "data_root", "exec_root", "namespace_owner", "uid", "unified_cgroups")

    def __init__(
        self,
        container_id: str,
        uid: int | None = None,
        claim_id: str | None = None,
        claim: ClaimFacts | None = None,
        build: bool = False,
        data_root: str = "/var/lib/docker",
        exec_root: str = "/var/run/docker",
        namespace_owner: Mapping[str, int | None] | None = None,
        unified_cgroups: bool = False,
    ) -> None:
        self.container_id = container_id
        self.uid = uid
        self.claim_id = claim_id
        self.claim = claim or ClaimFacts()
        self.build = build
        self.data_root = data_root
        self.exec_root = exec_root
        self.namespace_owner = namespace_owner or {}
        self.unified_cgroups = unified_cgroups


class Violation:
    """One thing in a spec that is not allowed: which rule, where in the spec, what was found."""

    __slots__ = ("found", "rule", "where")

    def __init__(self, rule: str, where: str, found: str) -> None:
        self.rule = rule
        self.where = where
        self.found = found

    def text(self) -> str:
        """One line for a person."""
        return f"{self.where}: {self.found} ({self.rule})"
