# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What stands on each GPU before a change: MIG mode, GPU instances with their compute instances, and who uses them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .mig_geometry import Geometry, Placement


@dataclass(frozen=True)
class GpuInstance:
    """One GPU instance. ``compute``: its compute instances as (id, compute slices); ``users``: who uses it, in words."""

    gi_id: int
    profile_id: int
    start: int
    size: int
    compute: tuple[tuple[int, int], ...] = ()
    users: tuple[str, ...] = ()

    @property
    def placement(self) -> Placement:
        """What stands where."""
        return Placement(self.profile_id, self.start)

    def whole(self, compute_slices: int) -> bool:
        """Whether it has exactly one compute instance, and that of full size."""
        return len(self.compute) == 1 and self.compute[0][1] == compute_slices


@dataclass(frozen=True)
class GpuState:
    """One GPU. ``geometry`` is None where the driver reports no profiles; ``users``: who uses the GPU outside of its instances.

    ``mig_pending`` differs from ``mig_enabled`` after a mode switch that didn't take effect.
    """

    uuid: str
    index: int
    model: str
    mig_capable: bool
    mig_enabled: bool
    mig_pending: bool
    geometry: Geometry | None
    instances: tuple[GpuInstance, ...] = ()
    users: tuple[str, ...] = ()

    def with_claims(self, holders: dict[str, str]) -> GpuState:
        """The same with claims added to the users. ``holders``: device key (``core.devices``) → who holds it, in words."""
        instances = tuple(
            replace(i, users=(*i.users, holders[key])) if (key := f"{self.uuid}/{i.profile_id}@{i.start}") in holders else i
            for i in self.instances
        )
        users = (*self.users, holders[self.uuid]) if self.uuid in holders else self.users
        return replace(self, instances=instances, users=users)
