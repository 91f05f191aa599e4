# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Grants GPU claims and takes them back. Choosing and writing happen under one lock; the CDI spec file is the grant.

Order of effects, so that a kill at any point leaves nothing but what ``reconcile`` mends: a grant opens the claim's slice first and
publishes the spec last; an end (``claim_ending``) takes back the spec's device first, closes the slice, and removes the spec last,
when no process of the container lives. In between there is at worst an open slice in which nothing can be started, or a claim that
nothing can start with.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from .claim_ending import ClaimEnding
from .claim_occupants import Occupants, ProcOccupants
from .claim_store import ClaimStore, Table
from .claim_turns import Moment, NoTurns, Turns
from .core.cdi_spec import CdiSpecError, device_nodes, spec_for, with_claim
from .core.chooser import choose, impossible, intact, may_keep
from .core.claim import Claim
from .core.claim_reconcile import ContainerState, ReconcilePlan, reconcile
from .core.devices import Inventory
from .core.devices_json import SnapshotError
from .core.gpu_request import GpuRequest
from .core.limits import Limits
from .core.quota import Usage, usage
from .core.refusal import Refusal
from .device_node import numbers
from .devices_snapshot import load as load_inventory
from .file_cache import FileCache
from .reservation_file import ReservationFileError
from .reservation_file import load as load_reservations
from .slice_control import SliceError, Slices

_LOG = logging.getLogger("ds01.allocator")
T = TypeVar("T")


class AllocationError(RuntimeError):
    """The server, not the caller, is at fault: no snapshot, no base spec, a slice that can't be made. Nothing was granted."""


@dataclass(frozen=True)
class AllocationPaths:
    """Where the allocator reads and writes (docs/architecture.md)."""

    claims: Path = Path("/run/cdi")
    lock: Path = Path("/run/ds01/claims.lock")
    devices: Path = Path("/run/ds01/devices.json")
    cdi_base: Path = Path("/run/ds01/cdi-base.json")
    reservations: Path = Path("/etc/ds01/reservations.json")


class Allocator:
    """``clock`` gives seconds since the epoch, UTC. Safe to use from several threads and processes at once."""

    def __init__(
        self,
        paths: AllocationPaths,
        slices: Slices,
        clock: Callable[[], float] = time.time,
        turns: Turns | None = None,
        occupants: Occupants | None = None,
    ) -> None:
        self._store = ClaimStore(paths.claims, paths.lock)
        self._slices = slices
        self._clock = clock
        self._ending = ClaimEnding(self._store, slices, occupants or ProcOccupants(), clock)
        self._turns: Turns = turns or NoTurns()
        self._inventory = FileCache(paths.devices, load_inventory)
        self._base = FileCache(paths.cdi_base, _load_base)
        self._reservations = FileCache(paths.reservations, load_reservations)

    def check(self, limits: Limits, request: GpuRequest) -> Refusal | None:
        """What can never be granted to this person, to be refused when the container is created; else None."""
        return impossible(self.inventory(), limits, request)

    def grant(self, claim_id: str, limits: Limits, uid: int, request: GpuRequest, container_id: str, container_name: str) -> Claim:
        """The container's claim, ready to be started with. A claim that it still has is renewed and its hold ends.

        Raises Refusal (the person's request), AllocationError (the server). Either way nothing is left behind.
        """
        self._prepare(uid, limits)
        with self._store.lock():
            now = self._clock()
            table = self._drop_expired(self._store.read(), now)
            reservations = self._file(self._reservations)
            present = table.get(claim_id)
            others = [c for c in table.claims if c.id != claim_id]
            if present is not None and (present.container_id, present.uid) != (container_id, uid):
                whose = f"container {present.container_id[:12]} of uid {present.uid}"
                raise AllocationError(f"claim {claim_id} is of {whose}, not of {container_id[:12]} of uid {uid}")
            if present is not None:
                if present.held_until is None and present.ending_since is None:
                    keep = intact(self.inventory(), present)
                else:
                    keep = may_keep(self.inventory(), present, others, limits, request, now=now, reservations=reservations)
                if keep:
                    return self._renew(present, limits, container_name, now)
                if not self._ending.end(present):
                    raise AllocationError(f"claim {claim_id} has other devices, and a process that the container left has them open")
            self._turns.settle(Moment(self.inventory(), tuple(others), reservations, table.blocked, now))
            kept = self._turns.kept(uid, container_id)
            devices = choose(
                self.inventory(),
                [*others, *kept.claims],
                limits,
                request,
                uid=uid,
                now=now,
                reservations=(*reservations, *kept.reservations),
                blocked=table.blocked,
            )
            claim = Claim(
                id=claim_id,
                uid=uid,
                user=limits.user,
                container_id=container_id,
                container_name=container_name,
                request=request.text(),
                devices=devices,
                granted_at=now,
                generation=secrets.token_hex(8),
                hold=limits.lifecycle.gpu_hold,
                renewed_at=now,
                ends_at=_ends_at(limits, now),
            )
            self._publish(claim, self._spec(claim))
            self._settle()
            return claim

    def release(self, claim_id: str, hold_s: int | None = None) -> Claim | None:
        """The container ended: its claim is held for ``hold_s`` seconds (None: what policy said at the grant), or ends now.

        Returns the claim as it was, None when there was none. One of which a process lives stays as ending.
        """
        with self._store.lock():
            claim = self._store.read().get(claim_id)
            if claim is None:
                return None
            hold = claim.hold if hold_s is None else hold_s
            if hold > 0:
                self._hold(claim, self._clock() + hold)
            elif self._ending.end(claim):
                self._settle()
            return claim

    def drop(self, claim_id: str) -> Claim | None:
        """End a claim now: no start finds it, and its slice opens no GPU. Returns the claim as it was."""
        return self.release(claim_id, 0)

    def withdraw(self, claim_id: str) -> Claim | None:
        """The first half of an end: no start finds the claim any more, its devices stay taken. None when there is none."""
        with self._store.lock():
            claim = self._store.read().get(claim_id)
            if claim is not None:
                self._ending.withdraw(claim)
            return claim

    def finish(self, claim_id: str) -> bool:
        """The second half: the devices are free. False when a process of the container lives: then they stay taken."""
        with self._store.lock():
            claim = self._store.read().get(claim_id)
            if claim is None:
                return True
            gone = self._ending.finish(claim)
            if gone:
                self._settle()
            return gone

    def restore(self, claim_id: str) -> bool:
        """The container of a claim that is held or ending runs: the claim is as it was."""
        with self._store.lock():
            claim = self._store.read().get(claim_id)
            return claim is not None and self._ending.restore(claim)

    def expire(self, now: float | None = None) -> list[Claim]:
        """End the claims whose hold is over; returns those that are gone."""
        with self._store.lock():
            at = self._clock() if now is None else now
            before = self._store.read()
            after = self._drop_expired(before, at)
            self._settle()
            return [c for c in before.claims if after.get(c.id) is None]

    def reconcile(self, containers: Iterable[ContainerState], listed_at: float) -> ReconcilePlan:
        """Bring claims and slices in line with the containers as they were listed at ``listed_at``; returns what was done.

        All containers of the daemon are needed, stopped ones too: a claim whose container is not among them ends. What is to be
        dropped is withdrawn: look at its container again, then ``finish`` or ``restore``.
        """
        with self._store.lock():
            now = self._clock()
            self._store.sweep()
            table = self._store.read()
            plan = reconcile(table.claims, containers, self._claim_slices(), listed_at=listed_at, now=now)
            by_id = {c.id: c for c in table.claims}
            for claim_id in plan.drop:
                self._ending.withdraw(by_id[claim_id])
            for claim_id, until in (plan.hold or {}).items():
                self._hold(by_id[claim_id], until)
            for claim_id in plan.resume:
                self._ending.restore(by_id[claim_id])
            for uid, claim_id in plan.close:
                self._ending.close(uid, claim_id)
            self._settle()
            return plan

    def arrange(self) -> None:
        """Somebody joined or left the queue: offer what is free."""
        with self._store.lock():
            self._settle()

    def moment(self) -> Moment:
        """What there is, without the lock. Raises AllocationError."""
        table = self._store.read()
        return Moment(self.inventory(), table.claims, self._file(self._reservations), table.blocked, self._clock())

    def table(self) -> Table:
        """All claims and the files that are none, without the lock: one moment of each file."""
        return self._store.read()

    def claims(self) -> tuple[Claim, ...]:
        """All claims."""
        return self._store.read().claims

    def usage(self, uid: int) -> Usage:
        """What one person holds."""
        return usage(self.claims(), uid)

    def inventory(self) -> Inventory:
        """The devices as last published; raises AllocationError."""
        return self._file(self._inventory)

    def _settle(self) -> None:
        """Call under the lock. Where files can't be read nothing is offered; who asks for a GPU is told why."""
        try:
            self._turns.settle(self.moment())
        except AllocationError as error:
            _LOG.warning("the queue is not served: %s", error)

    def _prepare(self, uid: int, limits: Limits) -> None:
        try:
            self._slices.ensure_user_slice(uid, limits.aggregate)
        except SliceError as error:
            raise AllocationError(f"the slice of uid {uid} can't be made: {error}") from error

    def _renew(self, claim: Claim, limits: Limits, container_name: str, now: float) -> Claim:
        renewed = replace(
            claim,
            container_name=container_name,
            held_until=None,
            ending_since=None,
            hold=limits.lifecycle.gpu_hold,
            renewed_at=now,
            ends_at=claim.ends_at if claim.held_until is None and claim.ending_since is None else _ends_at(limits, now),
        )
        try:
            self._open_and_write(renewed, self._spec(renewed))
        except (SliceError, OSError) as error:
            raise AllocationError(f"claim {claim.id} can't be renewed, it stays as it was: {error}") from error
        return renewed

    def _spec(self, claim: Claim) -> dict[str, Any]:
        try:
            base = self._file(self._base)
            return spec_for(claim, base)
        except CdiSpecError as error:
            raise AllocationError(
                f"the published CDI base spec can't serve {claim.id}: {error}; `ds01-mig publish` writes it anew"
            ) from error

    def _publish(self, claim: Claim, spec: dict[str, Any]) -> None:
        """Open the slice, then write the spec; close the slice again when that fails."""
        try:
            self._open_and_write(claim, spec)
        except (SliceError, OSError) as error:
            self._ending.remove(claim)
            raise AllocationError(f"claim {claim.id} can't be made: {error}") from error
        except BaseException:
            self._ending.remove(claim)
            raise

    def _open_and_write(self, claim: Claim, spec: dict[str, Any]) -> None:
        self._slices.open_claim_slice(claim.uid, claim.id, device_nodes(spec, numbers))
        self._store.write(claim.id, spec)

    def _hold(self, claim: Claim, until: float) -> None:
        """Keep the devices of a stopped container. Where that can't be written down (a full disk) the claim ends."""
        try:
            self._store.write(claim.id, with_claim(self._store.spec(claim.id), replace(claim, held_until=until, ends_at=None)))
        except (OSError, CdiSpecError) as error:
            _LOG.warning("claim %s ends and is not held: %s", claim.id, error)
            if self._ending.end(claim):
                self._settle()

    def _claim_slices(self) -> list[tuple[int, str]]:
        try:
            return list(self._slices.claim_slices())
        except SliceError as error:
            _LOG.warning("slices can't be listed: %s", error)
            return []

    def _drop_expired(self, table: Table, now: float) -> Table:
        over = [c for c in table.claims if c.held_until is not None and c.held_until <= now]
        gone = [claim for claim in over if self._ending.end(claim)]
        return replace(table, claims=tuple(c for c in table.claims if c not in gone)) if gone else table

    @staticmethod
    def _file(cache: FileCache[T]) -> T:
        try:
            return cache.get()
        except (SnapshotError, ReservationFileError, CdiSpecError) as error:
            raise AllocationError(str(error)) from error


def _ends_at(limits: Limits, now: float) -> float | None:
    return None if limits.lifecycle.runtime is None else now + limits.lifecycle.runtime


def _load_base(path: Path) -> dict[str, Any]:
    try:
        base = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CdiSpecError(f"{path}: {error}; `ds01-mig publish` writes it") from error
    if not isinstance(base, dict):
        raise CdiSpecError(f"{path}: expected a CDI spec")
    return base
