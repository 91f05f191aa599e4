# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Claims and devices as a module returns them: plain values, times as ISO 8601 in UTC."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from .claim import Claim, ClaimedDevice
from .devices import Inventory
from .offers import offers


def report_claim(claim: Claim) -> dict[str, Any]:
    """One claim."""
    return {
        "claim": claim.id,
        "user": claim.user,
        "uid": claim.uid,
        "container_id": claim.container_id,
        "container_name": claim.container_name,
        "request": claim.request,
        "equivalents": str(claim.equivalents),
        "devices": [report_device(d) for d in claim.devices],
        "granted_at": _iso(claim.granted_at),
        "held_until": _iso(claim.held_until),
        "ends_at": _iso(claim.ends_at),
        "generation": claim.generation,
    }


def report_device(device: ClaimedDevice) -> dict[str, Any]:
    """One claimed device."""
    return {
        "key": device.key,
        "kind": device.kind,
        "gpu_uuid": device.gpu_uuid,
        "mig_uuid": device.mig_uuid,
        "equivalents": str(device.equivalents),
        "memory_mib": device.memory_mib,
    }


def report_free(inventory: Inventory, claims: Iterable[Claim]) -> list[dict[str, Any]]:
    """The devices in service that no claim holds."""
    held = {d.key for c in claims for d in c.devices}
    return [report_device(o.device) for o in offers(inventory) if o.gpu.healthy and o.device.key not in held]


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds")
