# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Verdicts on who holds which GPU: the claims against the containers, the slices, the devices, and what NVML sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .claim import Claim
from .claim_reconcile import ContainerState, reconcile
from .devices import Inventory
from .health import Finding, fail, ok, warn
from .workload_kind import Kind

_SOME = 5
_END_S = 5.0
"""An end without obstacles takes milliseconds."""


def claims(
    held: Sequence[Claim],
    corrupt: Sequence[str],
    containers: Sequence[ContainerState],
    slices: Sequence[tuple[int, str]],
    devices: Inventory | None,
    now: float,
) -> list[Finding]:
    """``corrupt`` are claim files that can't be read; ``devices`` the published snapshot, None when there is none."""
    restart = "systemctl restart ds01-gate, which reconciles; then ds01 claims"
    found = [
        fail("claims", f"{path} can't be read as a claim: its devices stay taken", f"look at {path}; rm it when nothing uses them")
        for path in corrupt
    ]
    plan = reconcile(held, containers, slices, listed_at=now, now=now)
    ending = {one.id for one in held if one.ending_since is not None}
    if orphaned := [one.id for one in held if one.ending_since is not None and now - one.ending_since > _END_S]:
        found.append(
            warn(
                "claims",
                f"{_some(orphaned)} can't end: a process of the container outlived it, and has the GPU",
                "journalctl -u ds01-gate -g 'quarantined|orphan': the gate kills such a process after orphan_seconds",
            )
        )
    if plan.drop or plan.hold:
        leaking = [one for one in (*plan.drop, *(plan.hold or {})) if one not in ending]
        if leaking:
            found.append(warn("claims", f"{_some(leaking)} hold GPUs for containers that do not run", restart))
    if plan.unclaimed:
        found.append(fail("claims", f"containers {_some([one[:12] for one in plan.unclaimed])} run on GPUs without a claim", restart))
    if plan.close:
        found.append(warn("claims", f"slices of {_some([claim for _, claim in plan.close])} are there and their claims are not", restart))
    sliced = {claim for _, claim in slices}
    running = {state.id for state in containers if state.alive}
    bare = [one.id for one in held if one.container_id in running and one.held_until is None and one.id not in sliced]
    if slices and bare:
        found.append(
            warn("claims", f"{_some(bare)} run and have no slice: no device filter of their own", "docker restart of these containers")
        )
    holders = Counter(device.key for one in held for device in one.devices)
    twice = sorted(key for key, number in holders.items() if number > 1)
    if twice:
        found.append(fail("claims", f"{_some(twice)} are claimed twice", "ds01 claims; stop one of the containers"))
    if devices is None:
        found.append(warn("claims", "there is no snapshot of the devices: nothing can be allocated", "ds01-mig publish"))
    elif missing := sorted(set(holders) - _keys(devices)):
        found.append(warn("claims", f"{_some(missing)} are claimed and not on this server any more", "ds01-mig show; ds01 claims"))
    return found or [ok("claims", f"{len(held)} agree with the containers, the slices and the devices")]


def _keys(devices: Inventory) -> set[str]:
    return {gpu.key for gpu in devices.gpus} | {instance.key for gpu in devices.gpus for instance in gpu.instances}


def gpu_use(inventory: Mapping[str, Any] | None) -> list[Finding]:
    """What NVML sees, by the watcher's inventory, that the platform did not put there; and GPUs that do not answer."""
    if inventory is None:
        return [warn("GPUs", "not known: the watcher has published nothing", "systemctl status ds01-watch")]
    found = []
    sick = [str(gpu.get("index")) for gpu in inventory.get("gpus", ()) if not (gpu.get("healthy", True) and gpu.get("answers", True))]
    if sick:
        found.append(
            fail(
                "GPUs",
                f"GPU {', '.join(sick)} does not answer or is out of service",
                "journalctl -k -g 'NVRM|Xid'; docs/runbooks/DS01GpuUnhealthy.md",
            )
        )
    tracked = {kind.value for kind in Kind if kind.tracked}
    strangers = [one for one in inventory.get("workloads", ()) if one.get("kind") not in tracked]
    if strangers:
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(Counter(str(one.get("kind")) for one in strangers).items()))
        found.append(warn("GPUs", f"workloads that the platform did not put there: {kinds}", "ds01 workloads --wide"))
    number = len(inventory.get("gpus", ()))
    return found or [ok("GPUs", f"{number} answer{'s' if number == 1 else ''}, and only the platform's workloads use them")]


def mig_layout(actions: Sequence[str] | None, problem: str | None) -> list[Finding]:
    """``actions`` are what would make the declared layout stand, None when that could not be found out, for the reason ``problem``."""
    if actions is None:
        return [fail("MIG", problem or "the layout could not be read", "ds01-mig plan")]
    if actions:
        return [
            warn(
                "MIG",
                f"the GPUs are not partitioned as declared: {_some(list(actions), 3)}",
                "ds01-mig plan; ds01-mig apply when nobody is on them",
            )
        ]
    return [ok("MIG", "the GPUs are partitioned as declared")]


def _some(names: Sequence[str], most: int = _SOME) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
