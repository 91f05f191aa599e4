# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a host has to offer: every device that can be given, what it may be called, and whom it fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from .claim import ClaimedDevice
from .devices import Gpu, Inventory, MigInstance
from .gpu_request import GpuRequest
from .limits import GpuLimits


@dataclass(frozen=True)
class Offer:
    """A device that exists on this host: a MIG instance, or a GPU with MIG off (``instance`` None)."""

    gpu: Gpu
    instance: MigInstance | None
    device: ClaimedDevice

    @property
    def size(self) -> tuple[Fraction, int]:
        """GPU-equivalents and MiB: smaller sorts first."""
        return self.device.equivalents, self.device.memory_mib

    @property
    def names(self) -> frozenset[str]:
        """What a person may call it: key, UUID, and for a whole GPU its index."""
        if self.instance is None:
            return frozenset((self.gpu.key, str(self.gpu.index)))
        return frozenset((self.instance.key, self.instance.mig_uuid))


def offers(inventory: Inventory) -> tuple[Offer, ...]:
    """Every device of the host, also those in use or out of service, by GPU index and placement."""
    found: list[Offer] = []
    for gpu in sorted(inventory.gpus, key=lambda g: g.index):
        if gpu.mig_enabled:
            found.extend(Offer(gpu, i, _claimed_instance(gpu, i)) for i in sorted(gpu.instances, key=lambda i: (i.start, i.profile_id)))
        else:
            found.append(Offer(gpu, None, ClaimedDevice(gpu.key, gpu.uuid, gpu.minor, Fraction(1), gpu.memory_mib)))
    return tuple(found)


def potential_offers(inventory: Inventory) -> tuple[Offer, ...]:
    """One offer for each instance that may be made on demand, with a placeholder where what stands has its place, ids and UUID."""
    found: list[Offer] = []
    for gpu in sorted((g for g in inventory.gpus if g.mig_enabled and g.healthy), key=lambda g: g.index):
        for p in gpu.dynamic:
            instance = MigInstance(
                gpu.uuid, -1, -1, p.profile_id, p.profile, -1, 0, p.compute_slices, p.memory_mib, f"{gpu.uuid}/{p.profile}", -1, -1
            )
            found.append(Offer(gpu, instance, _claimed_instance(gpu, instance)))
    return tuple(found)


def makeable(inventory: Inventory, limits: GpuLimits, request: GpuRequest, remaining: Fraction | None) -> list[Offer]:
    """What may be made on demand for a request of one device, smallest first; nothing where a device is asked for by name.

    ``remaining``: GPU-equivalents left in the person's quota, None without limit.
    """
    if device_count(request) != 1 or request.uuids or request.full:
        return []
    found = [o for o in potential_offers(inventory) if permits(limits, o) and satisfies(o, request)]
    within = [o for o in found if remaining is None or o.device.equivalents <= remaining]
    return sorted(within, key=lambda o: (*o.size, o.gpu.index))


def fitting(inventory: Inventory, limits: GpuLimits, request: GpuRequest) -> list[Offer]:
    """The offers that satisfy the request and that policy lets the person have, in use or not."""
    return [o for o in offers(inventory) if permits(limits, o) and satisfies(o, request)]


def permits(limits: GpuLimits, offer: Offer) -> bool:
    """True when policy lets the person have that device: its pool, its profile, or a full GPU."""
    if offer.gpu.pool not in limits.pools:
        return False
    if offer.instance is None:
        return limits.full_gpu
    return limits.profiles is None or any(is_profile(p, offer.instance.profile) for p in limits.profiles)


def satisfies(offer: Offer, request: GpuRequest) -> bool:
    """True when the device is what the request asks for."""
    if request.uuids:
        return bool(offer.names & set(request.uuids))
    if request.full and offer.instance is not None:
        return False
    if request.profile is not None and (offer.instance is None or not is_profile(request.profile, offer.instance.profile)):
        return False
    return request.memory_mib is None or offer.device.memory_mib >= request.memory_mib


def is_profile(asked: str, profile: str) -> bool:
    """``1g.10gb`` is itself only; ``1g`` is every profile of one compute slice. Case does not matter."""
    asked, profile = asked.lower(), profile.lower()
    return asked == profile or ("." not in asked and profile.split(".", 1)[0] == asked)


def device_count(request: GpuRequest) -> int:
    """How many devices the request is for; ``--gpus all`` is one."""
    if request.everything:
        return 1
    return max(request.count, len(request.uuids))


def least(offered: Sequence[Offer], count: int) -> Fraction:
    """The fewest GPU-equivalents that ``count`` of them can be."""
    return sum(sorted(o.device.equivalents for o in offered)[:count], Fraction(0))


def _claimed_instance(gpu: Gpu, instance: MigInstance) -> ClaimedDevice:
    return ClaimedDevice(
        instance.key,
        gpu.uuid,
        gpu.minor,
        gpu.equivalents(instance),
        instance.memory_mib,
        instance.profile,
        instance.gi_id,
        instance.ci_id,
        instance.mig_uuid,
    )
