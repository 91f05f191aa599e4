# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What can be allocated on this host: GPUs, MIG instances, and the snapshot that lists them.

Facts only; read by the NVML adapter, published to ``/run/ds01/devices.json``, consumed by allocation, gate and status.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class MigInstance:
    """One GPU instance with its single, full-size compute instance.

    ``start`` and ``size`` are memory slices (NVML placement axis); ``compute_slices`` is the numerator of the
    GPU-equivalent. ``gi_minor`` and ``ci_minor`` are the nvidia-caps minors that make it reachable.
    The MIG UUID is no identity: it comes back when an instance is made again in the same place.
    """

    gpu_uuid: str
    gi_id: int
    ci_id: int
    profile_id: int
    profile: str
    start: int
    size: int
    compute_slices: int
    memory_mib: int
    mig_uuid: str
    gi_minor: int
    ci_minor: int

    @property
    def key(self) -> str:
        """What a claim holds: the place on the GPU and what stands there."""
        return f"{self.gpu_uuid}/{self.profile_id}@{self.start}"


@dataclass(frozen=True)
class Potential:
    """A profile of which an instance may be made on demand, as NVML describes it."""

    profile_id: int
    profile: str
    compute_slices: int
    memory_mib: int


@dataclass(frozen=True)
class Gpu:
    """One physical GPU. ``minor`` is N of /dev/nvidiaN. ``healthy`` is False for a GPU that is lost or cordoned.

    ``dynamic``: what may be made of it on demand; nothing for a GPU with a fixed layout.
    """

    uuid: str
    index: int
    minor: int
    model: str
    memory_mib: int
    mig_enabled: bool
    compute_slices: int
    instances: tuple[MigInstance, ...] = ()
    healthy: bool = True
    pool: str = "interactive"
    dynamic: tuple[Potential, ...] = ()

    @property
    def key(self) -> str:
        """What a claim on the whole GPU holds."""
        return self.uuid

    def equivalents(self, instance: MigInstance) -> Fraction:
        """The instance's share of this GPU in GPU-equivalents: its compute slices over the GPU's."""
        return Fraction(instance.compute_slices, self.compute_slices)


@dataclass(frozen=True)
class Inventory:
    """All GPUs of the host at one moment. ``read_at`` is seconds since the epoch, UTC."""

    gpus: tuple[Gpu, ...]
    driver: str
    simulated: bool
    read_at: float

    def gpu(self, uuid: str) -> Gpu | None:
        """The GPU with that UUID, or None."""
        return next((g for g in self.gpus if g.uuid == uuid), None)
