# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""When a waiter's turn is expected: every claim ends when it must, and whoever is ahead takes what fits them first.

An upper estimate, because people end earlier than they must; and none at all where something has no end that is known.
"""

from __future__ import annotations

from collections.abc import Sequence

from .gpu_queue import Scene, Waiter, in_order
from .gpu_request import GpuRequest
from .offers import device_count, fitting, offers


def position(waiters: Sequence[Waiter], scene: Scene, waiter_id: str) -> int | None:
    """Place in the queue, counted from 1; 0 for somebody for whom a device is kept; None for somebody who does not wait."""
    found = next((one for one in waiters if one.id == waiter_id), None)
    if found is None or found.hold is not None:
        return None if found is None else 0
    return 1 + [one.id for one in in_order([one for one in waiters if one.hold is None], scene)].index(waiter_id)


def estimates(waiters: Sequence[Waiter], scene: Scene) -> dict[str, float]:
    """Waiter id → when their devices are expected (seconds since the epoch, UTC). Who is not in it: not known.

    A device that somebody ahead takes is theirs from then on; what they give back is not foreseen.
    """
    ends = _ends(waiters, scene)
    found: dict[str, float] = {}
    for waiter in in_order([one for one in waiters if one.hold is None], scene):
        person = scene.people.get(waiter.uid)
        if person is None:
            continue
        request = GpuRequest.parse(waiter.request)
        fit = [o.device.key for o in fitting(scene.inventory, person.gpu, request) if o.device.key in ends and o.gpu.healthy]
        first = sorted(fit, key=lambda key: (ends[key], key))[: device_count(request)]
        if len(first) == device_count(request):
            found[waiter.id] = max(scene.now, *(ends.pop(key) for key in first))
    return found


def _ends(waiters: Sequence[Waiter], scene: Scene) -> dict[str, float]:
    """Device key → when it comes free, as far as that is known."""
    ends: dict[str, float] = {offer.device.key: scene.now for offer in offers(scene.inventory) if offer.device.key not in scene.blocked}
    for claim in scene.claims:
        for device in claim.devices:
            ends.pop(device.key, None)
            if claim.expected_free_at is not None:
                ends[device.key] = claim.expected_free_at
    for waiter in waiters:
        for key in waiter.hold.keys if waiter.hold is not None else ():
            ends.pop(key, None)
    return ends
