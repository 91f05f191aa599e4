# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What to do about claims and slices that no longer match the containers: after a crash, a reboot, or a stop that nobody saw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .claim import Claim

START_GRACE_S = 60.0
"""A claim younger than this, seen from the moment the containers were listed, belongs to a start that is still under way."""


@dataclass(frozen=True)
class ContainerState:
    """One container. ``alive``: running, paused or restarting. ``finished_at``: seconds since the epoch, UTC, of its last end."""

    id: str
    alive: bool
    claim_id: str | None = None
    finished_at: float | None = None


@dataclass(frozen=True)
class ReconcilePlan:
    """``drop``: claims to end now, or that are ending; ``hold``: claim id → until when a stopped container keeps its devices; ``resume``:
    held or ending claims whose container runs; ``close``: slices without a claim; ``unclaimed``: ids of live containers whose claim does
    not exist."""

    drop: tuple[str, ...] = ()
    hold: Mapping[str, float] | None = None
    resume: tuple[str, ...] = ()
    close: tuple[tuple[int, str], ...] = ()
    unclaimed: tuple[str, ...] = ()


def reconcile(
    claims: Iterable[Claim],
    containers: Iterable[ContainerState],
    slices: Iterable[tuple[int, str]],
    *,
    listed_at: float,
    now: float,
) -> ReconcilePlan:
    """The plan. ``listed_at`` is when the containers were listed: what was granted after that, or just before, is left alone."""
    states = {c.id: c for c in containers}
    drop: list[str] = []
    hold: dict[str, float] = {}
    resume: list[str] = []
    kept: dict[str, Claim] = {}
    for claim in claims:
        verdict = _verdict(claim, states.get(claim.container_id), listed_at, now)
        if verdict == "drop":
            drop.append(claim.id)
            continue
        kept[claim.id] = claim
        if verdict == "resume":
            resume.append(claim.id)
        elif isinstance(verdict, float):
            hold[claim.id] = verdict
    close = tuple(s for s in slices if s[1] not in kept and s[1] not in drop)
    unclaimed = tuple(sorted(c.id for c in states.values() if c.alive and c.claim_id is not None and c.claim_id not in kept))
    return ReconcilePlan(tuple(drop), hold, tuple(resume), close, unclaimed)


def _verdict(claim: Claim, state: ContainerState | None, listed_at: float, now: float) -> str | float:
    """``drop``, ``keep``, ``resume``, or until when to hold."""
    alive = state is not None and state.alive
    if claim.ending_since is not None:
        return "resume" if alive else "drop"
    if claim.held_until is not None:
        if alive:
            return "resume"
        return "drop" if state is None or claim.held_until <= now else "keep"
    if alive or claim.renewed_at > listed_at - START_GRACE_S:
        return "keep"
    if state is None:
        return "drop"
    until = (state.finished_at if state.finished_at is not None else now) + claim.hold
    return until if until > now else "drop"
