# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the runtime guard knows about a container beside its OCI spec: whose it is, and what its claim makes reachable.

Named tuples, because the guard runs at each start of a container and importing ``dataclasses`` would be a third of its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

DEFAULT_CAPABILITIES = frozenset(
    "CAP_" + name
    for name in (
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
        "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    )
)  # fmt: skip
"""What dockerd gives a container that asks for nothing (moby, oci/caps/defaults.go)."""


class ClaimFacts(NamedTuple):
    """The container edits of a claim's CDI spec: device numbers, mount sources and hook paths that it may bring along."""

    device_nodes: frozenset[tuple[int, int]] = frozenset()
    mount_sources: frozenset[str] = frozenset()
    hook_paths: frozenset[str] = frozenset()


class GuardFacts(NamedTuple):
    """``uid`` is None for a container without the gate's labels; ``build`` marks a step of an image build.

    ``namespace_owner`` maps the path of a namespace to join to the uid whose container it belongs to (None: nobody's).
    ``data_root`` and ``exec_root`` are dockerd's own directories.
    """

    container_id: str
    uid: int | None = None
    claim_id: str | None = None
    claim: ClaimFacts = ClaimFacts()
    build: bool = False
    data_root: str = "/var/lib/docker"
    exec_root: str = "/var/run/docker"
    namespace_owner: Mapping[str, int | None] = MappingProxyType({})


class Violation(NamedTuple):
    """One thing in a spec that is not allowed: which rule, where in the spec, what was found."""

    rule: str
    where: str
    found: str

    def text(self) -> str:
        """One line for a person."""
        return f"{self.where}: {self.found} ({self.rule})"
