# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Why a person is not given a GPU: by policy, by what the host has, by their quota, or because nothing is free.

Each with its numbers and a way on.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from .claim import Claim
from .devices import Inventory
from .gpu_request import GpuRequest
from .limits import GpuLimits
from .offers import Offer, device_count, least, makeable, offers, permits, satisfies
from .quota import Usage, moment, number
from .refusal import Refusal

_WHAT = "GPU request refused"


def forbidden(limits: GpuLimits, request: GpuRequest) -> Refusal | None:
    """What the policy alone says no to."""
    count = device_count(request)
    if limits.devices_per_container < 1 or limits.equivalents == 0 or not limits.pools:
        return Refusal(_WHAT, "your policy gives you no GPU", "Run it without --gpus, or ask an administrator.", rule="gpu.none")
    if count > limits.devices_per_container:
        return Refusal(
            _WHAT,
            f"{count} devices asked for, your policy allows {limits.devices_per_container} in one container",
            f"Ask for fewer: docker run --gpus {limits.devices_per_container} …",
            rule="gpu.devices_per_container",
        )
    if request.uuids and not limits.by_uuid:
        return Refusal(
            _WHAT,
            f"device {', '.join(request.uuids)} asked for by name, which your policy does not allow",
            "Let the server choose: docker run --gpus all …",
            rule="gpu.by_uuid",
        )
    if request.full and request.profile is not None:
        return Refusal(
            _WHAT,
            f"a full GPU and a part of one ({request.profile}) asked for at once",
            "Ask for one of them: --label ds01.gpu=full or --label ds01.gpu=" + request.profile,
            rule="gpu.contradiction",
            status=400,
        )
    if request.full and not limits.full_gpu:
        return Refusal(_WHAT, "your policy allows parts of GPUs only", "Ask for a part: docker run --gpus all …", rule="gpu.full_gpu")
    return None


def unsatisfiable(inventory: Inventory, limits: GpuLimits, request: GpuRequest) -> Refusal | None:
    """What nothing on this host, even empty or re-partitioned on demand, can be for this person."""
    if makeable(inventory, limits, request, limits.equivalents):
        return None
    count, everything_here = device_count(request), offers(inventory)
    satisfying = [o for o in everything_here if satisfies(o, request)]
    fitting = [o for o in satisfying if permits(limits, o)]
    unknown = [name for name in request.uuids if not any(name in o.names for o in everything_here)]
    if unknown:
        return Refusal(_WHAT, _unknown_device(inventory, unknown[0]), "See what there is: ds01 status", rule="gpu.unknown_device")
    if len(satisfying) < count:
        return Refusal(
            _WHAT,
            f"{_asked(request)} asked for, this host has {len(satisfying)} such ({_stock(everything_here)})",
            "Ask for something it has: docker run --gpus all …",
            rule="gpu.not_on_this_host",
        )
    if len(fitting) < count:
        return Refusal(
            _WHAT,
            f"{_asked(request)} asked for, your policy allows {len(fitting)} of the {len(satisfying)} on this host ({_allowed(limits)})",
            "See what you may use: ds01 limits",
            rule="gpu.not_permitted",
        )
    fewest = least(fitting, count)
    if limits.equivalents is not None and fewest > limits.equivalents:
        return Refusal(
            _WHAT,
            f"{_asked(request)} is at least {number(fewest)} GPU-equivalents, your policy allows {number(limits.equivalents)} in total",
            "Ask for fewer or smaller devices: docker run --gpus all …",
            rule="gpu.quota_total",
        )
    return None


def over_quota(limits: GpuLimits, held: Usage, needed: Fraction) -> Refusal:
    """The quota is in the way: what the person holds, and which of it comes back first."""
    waiting = [c for c in held.claims if c.held_until is not None]
    ends = [(c.ends_at, c) for c in held.claims if c.ends_at is not None]
    if waiting:
        first = min(waiting, key=lambda c: c.held_until or 0.0)
        name, until = first.container_name, moment(first.held_until or 0.0)
        step = f"{name} is stopped and keeps its GPU until {until}; give it back now: docker rm {name}"
    elif ends:
        at, first = min(ends, key=lambda pair: pair[0])
        step = f"{first.container_name} ends by {moment(at)} at the latest; or stop it now: docker stop {first.container_name}"
    else:
        step = f"Stop one of them: docker stop {held.claims[0].container_name}"
    why = f"{held.sentence(limits.equivalents)}; this request needs at least {number(needed)} more"
    return Refusal(_WHAT, why, step, rule="gpu.quota", status=409)


def busy(
    candidates: Sequence[Offer],
    free: Sequence[Offer],
    claims: Sequence[Claim],
    count: int,
    remaining: Fraction | None,
    reserved: int,
    now: float,
    reserved_from: float | None = None,
) -> Refusal:
    """No free device now: how many fit, what stands in the way of each, and when enough are expected back.

    ``candidates`` are all that fit, ``free`` those of them that could be given; ``reserved`` counts those kept for others,
    ``reserved_from`` is when the first of the reservations begins that has not yet.
    """
    keys = {o.device.key for o in candidates}
    sick = sum(1 for o in candidates if not o.gpu.healthy)
    parts = [f"{len(candidates)} devices here fit, {len(free)} of them free, {count} needed"]
    if sick:
        parts.append(f"{sick} out of service")
    if reserved:
        since = "" if reserved_from is None else f", from {moment(reserved_from)} on, when your container could still run"
        parts.append(f"{reserved} reserved for others{since}")
    if remaining is not None and len(free) >= count:
        parts.append(f"the free ones are larger than the {number(remaining)} GPU-equivalents left in your quota")
    times = sorted(c.expected_free_at for c in claims for d in c.devices if d.key in keys and c.expected_free_at is not None)
    missing = max(1, count - len(free))
    if len(times) >= missing:
        step = f"Expected by {moment(max(times[missing - 1], now))}; start it again then, and see what is in use: ds01 status"
    else:
        step = "When one comes free is not known; see what is in use: ds01 status"
    return Refusal("no GPU is free for this request", "; ".join(parts), step, rule="gpu.busy", status=409)


def _unknown_device(inventory: Inventory, name: str) -> str:
    for gpu in inventory.gpus:
        if name in (gpu.uuid, str(gpu.index)):
            return f"GPU {name} is partitioned (MIG) into {len(gpu.instances)} instances and can't be used as a whole; name an instance"
    return f"no device {name!r} on this host"


def _asked(request: GpuRequest) -> str:
    if request.uuids:
        return ", ".join(request.uuids)
    what = request.profile or ("full GPU" if request.full else "device")
    return f"{device_count(request)} × {what}" + (f" of at least {request.memory_mib} MiB" if request.memory_mib is not None else "")


def _stock(offered: Sequence[Offer]) -> str:
    """``2 × full GPU (40960 MiB), 7 × 1g.5gb (4864 MiB)``, or that there is nothing."""
    kinds: dict[tuple[str, int], int] = {}
    for offer in offered:
        kind = offer.device.kind, offer.device.memory_mib
        kinds[kind] = kinds.get(kind, 0) + 1
    return ", ".join(f"{n} × {name} ({mib} MiB)" for (name, mib), n in kinds.items()) or "no GPU that can be used"


def _allowed(limits: GpuLimits) -> str:
    profiles = "any profile" if limits.profiles is None else "profiles " + (", ".join(limits.profiles) or "none")
    return f"pools {', '.join(limits.pools)}; {profiles}; full GPU {'yes' if limits.full_gpu else 'no'}"
