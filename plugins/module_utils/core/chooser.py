# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which devices a request gets. Pure: inventory, claims, limits and request in, devices or a refusal out.

Two kinds of no. ``impossible`` is what policy and this host can never grant, so the container need not even be created (403).
``choose`` adds what stands in the way now, the person's quota or a lack of free devices (409).

A reservation is honoured ahead of time: a device on which somebody else's begins while a container of the person could still run is not
given to them, from LEAD_S before it begins on; earlier it is, when there is no other.

Order of choice: a device reserved for the person; the fewest GPU-equivalents, then the least memory that satisfies; without a later
reservation of others; on the GPU with the most already in use, and there in the half with the most in use, so that big instances and empty
GPUs stay free; then by index and placement. A whole GPU is only offered where MIG is off; a GPU with MIG on offers its instances alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from .claim import Claim, ClaimedDevice
from .devices import Gpu, Inventory
from .gpu_refusals import busy, forbidden, over_quota, unsatisfiable
from .gpu_request import GpuRequest
from .limits import Limits
from .offers import Offer, device_count, fitting, least, offers
from .quota import usage
from .refusal import Refusal
from .reservation import Reservation, ahead, covering

LEAD_S = 86400.0
"""How long before a reservation its devices are kept free of containers that could run into it: longer would leave them idle for days."""


def impossible(inventory: Inventory, limits: Limits, request: GpuRequest) -> Refusal | None:
    """The refusal (403) of what this person can never be given on this host, whatever is free; else None."""
    return forbidden(limits.gpu, request) or unsatisfiable(inventory, limits.gpu, request)


def choose(
    inventory: Inventory,
    claims: Sequence[Claim],
    limits: Limits,
    request: GpuRequest,
    *,
    uid: int,
    now: float,
    reservations: Sequence[Reservation] = (),
    blocked: frozenset[str] = frozenset(),
) -> tuple[ClaimedDevice, ...]:
    """The devices for ``request`` of ``uid``; raises Refusal (rule and status tell impossible, quota and busy apart).

    ``claims`` are all live claims of the host, without the one that is being made. ``blocked`` are device keys, GPU or MIG UUIDs
    that must not be given to anybody.
    """
    refusal = impossible(inventory, limits, request)
    if refusal is not None:
        raise refusal
    count = device_count(request)
    candidates = fitting(inventory, limits.gpu, request)
    held = usage(claims, uid)
    remaining = held.remaining(limits.gpu.equivalents)
    if remaining is not None and least(candidates, count) > remaining:
        raise over_quota(limits.gpu, held, least(candidates, count))
    taken = _Taken(claims, blocked)
    open_to_caller = [o for o in candidates if reserved_for(o, limits, reservations, now) is not False]
    later = {o.device.key for o in open_to_caller if _ahead(o, limits, reservations, now, _run(limits))}
    free = [o for o in open_to_caller if o.gpu.healthy and not taken.holds(o)]
    mine = {o.device.key for o in free if reserved_for(o, limits, reservations, now)}
    for preferred in (mine, set[str]()):
        chosen = _pick(free, count, remaining, taken, preferred, later)
        if chosen is not None:
            return tuple(o.device for o in chosen)
    soon = [r.start for o in candidates for r in _ahead(o, limits, reservations, now, min(_run(limits), LEAD_S))]
    raise busy(candidates, free, claims, count, remaining, len(candidates) - len(open_to_caller), now, min(soon, default=None))


def may_keep(
    inventory: Inventory,
    claim: Claim,
    others: Sequence[Claim],
    limits: Limits,
    request: GpuRequest,
    *,
    now: float,
    reservations: Sequence[Reservation] = (),
) -> bool:
    """True when a stopped container that is started again would still be allowed the devices that it holds."""
    if not intact(inventory, claim) or impossible(inventory, limits, request) is not None:
        return False
    held = {d.key for d in claim.devices}
    permitted = [o for o in fitting(inventory, limits.gpu, request) if o.device.key in held and o.gpu.healthy]
    if len(permitted) < len(held) or any(reserved_for(o, limits, reservations, now) is False for o in permitted):
        return False
    remaining = usage(others, claim.uid).remaining(limits.gpu.equivalents)
    return remaining is None or claim.equivalents <= remaining


def intact(inventory: Inventory, claim: Claim) -> bool:
    """True when every device of the claim is still there as it was given, and not a later one in the same place."""
    here = {o.device for o in offers(inventory)}
    return bool(claim.devices) and all(d in here for d in claim.devices)


class _Taken:
    """Which offers are in use, also where a claim and the layout of now disagree: then the claim wins."""

    def __init__(self, claims: Iterable[Claim], blocked: frozenset[str]) -> None:
        devices = [d for c in claims for d in c.devices]
        self._blocked = blocked
        self._keys = {d.key for d in devices}
        self._whole = {d.gpu_uuid for d in devices if d.profile is None}
        self._parts = {d.gpu_uuid for d in devices if d.profile is not None}
        self._gis = {(d.gpu_uuid, d.gi_id) for d in devices if d.gi_id is not None}
        self._load: dict[str, Fraction] = {}
        for device in devices:
            self._load[device.gpu_uuid] = self._load.get(device.gpu_uuid, Fraction(0)) + device.equivalents

    def holds(self, offer: Offer) -> bool:
        names = {offer.device.key, offer.gpu.uuid}
        if offer.instance is None:
            return bool(names & (self._keys | self._blocked)) or offer.gpu.uuid in self._parts
        names.add(offer.instance.mig_uuid)
        return (
            bool(names & self._blocked)
            or offer.device.key in self._keys
            or offer.gpu.uuid in self._whole
            or (offer.gpu.uuid, offer.instance.gi_id) in self._gis
        )

    def load(self, gpu: Gpu) -> Fraction:
        """GPU-equivalents in use on that GPU."""
        return self._load.get(gpu.uuid, Fraction(0))

    def load_of_half(self, offer: Offer) -> int:
        """Memory slices in use in the same half of the GPU as an instance; 0 for a whole GPU."""
        if offer.instance is None:
            return 0
        half = 4 if offer.gpu.compute_slices > 4 else 2
        place = offer.instance.start // half
        return sum(i.size for i in offer.gpu.instances if i.start // half == place and i.key in self._keys)


def _pick(
    free: Sequence[Offer], count: int, remaining: Fraction | None, taken: _Taken, preferred: set[str], later: set[str]
) -> list[Offer] | None:
    """``count`` free offers by the order of choice, within ``remaining``; None when that is not to be had.

    Smallest first gives the least sum there is, so that without ``preferred`` a None means that no choice fits.
    """
    chosen: list[Offer] = []
    on_gpu: dict[str, Fraction] = {}
    rest = list(free)
    while len(chosen) < count and rest:
        best = min(
            rest,
            key=lambda o: (
                o.device.key not in preferred,
                *o.size,
                o.device.key in later,
                -(taken.load(o.gpu) + on_gpu.get(o.gpu.uuid, Fraction(0))),
                -taken.load_of_half(o),
                o.gpu.index,
                o.instance.start if o.instance is not None else 0,
            ),
        )
        rest.remove(best)
        chosen.append(best)
        on_gpu[best.gpu.uuid] = on_gpu.get(best.gpu.uuid, Fraction(0)) + best.device.equivalents
    if len(chosen) < count:
        return None
    if remaining is not None and sum((o.device.equivalents for o in chosen), Fraction(0)) > remaining:
        return None
    return chosen


def reserved_for(offer: Offer, limits: Limits, reservations: Sequence[Reservation], now: float) -> bool | None:
    """True: reserved for this person now; False: for others, now or before the person would be done; None: not reserved."""
    found = covering(reservations, offer.device.key, offer.gpu.uuid, now)
    if found:
        return any(r.is_for(limits.user, limits.group) for r in found)
    return False if _ahead(offer, limits, reservations, now, min(_run(limits), LEAD_S)) else None


def _run(limits: Limits) -> float:
    """How long a container of the person may run, in seconds; without a limit at least LEAD_S."""
    return LEAD_S if limits.lifecycle.runtime is None else float(limits.lifecycle.runtime)


def _ahead(offer: Offer, limits: Limits, reservations: Sequence[Reservation], now: float, seconds: float) -> list[Reservation]:
    return ahead(reservations, offer.device.key, offer.gpu.uuid, now, now + seconds, limits.user, limits.group)
