# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Keeps the queue for GPUs: who waits, what is kept for whom, and who is woken. The one writer of its file.

Locks. ``settle`` and ``kept`` are called by the allocator under the lock of the claims and take ``_lock`` inside it. Whoever joins or
leaves takes ``_lock`` alone, lets go, and then has the allocator ``arrange``: never the other way round. Limits are looked up outside
both (``refresh``), because a directory service may be slow.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ds01 import queue_file
from ds01.claim_turns import Kept, Moment
from ds01.core.claim import Claim
from ds01.core.gpu_queue import Change, Scene, Waiter, What, kept_claims, settle
from ds01.core.gpu_served import charge, hours
from ds01.core.limits import Limits
from ds01.core.queue_outlook import estimates, position
from ds01.core.queue_state import QueueState
from ds01.core.refusal import Refusal
from ds01.core.reservation import Reservation
from ds01.json_state import StateError
from ds01_gate.audit import Audit
from ds01_gate.recorder import Recorder

MOST_STARTS = 8
"""Starts of one person that may wait at once."""
_SAVE_EVERY_S = 300.0
_WHAT = "joining the queue for GPUs is refused"


@dataclass(frozen=True)
class Place:
    """Where a waiter stands. ``position`` 0: a device is kept for them. ``expected_at``: seconds since the epoch; None: not known."""

    waiter: Waiter
    position: int
    expected_at: float | None


class TurnKeeper:
    """One for the process. ``limits_of`` raises Refusal for somebody whom it does not know now; ``hold_s`` is asked at each offer."""

    def __init__(
        self,
        path: str,
        limits_of: Callable[[int], Limits],
        hold_s: Callable[[], float],
        recorder: Recorder,
        audit: Audit,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._limits_of = limits_of
        self._hold_s = hold_s
        self._recorder = recorder
        self._audit = audit
        self._clock = clock
        self._lock = threading.RLock()
        self._people: dict[int, Limits] = {}
        self._bells: dict[str, int] = {}
        self._claims: tuple[Claim, ...] | None = None
        self._unsaved_since: float | None = None
        self._failing = False
        self._state = self._load()

    def _load(self) -> QueueState:
        """The queue as it was left, without starts that waited: their connections ended with the gate that had them."""
        try:
            state = queue_file.load(self._path)
        except (StateError, OSError) as error:
            self._audit.note("queue_damaged", path=self._path, why=str(error))
            if isinstance(error, StateError):
                self._audit.note("queue_set_aside", path=queue_file.set_aside(self._path))
            return QueueState()
        return replace(state, waiters=tuple(one for one in state.waiters if one.container_id is None))

    # --- under the lock of the claims -----------------------------------------------------------------------------------------------

    def settle(self, moment: Moment) -> None:
        """As ``claim_turns.Turns`` says."""
        with self._lock:
            self._charge(moment)
            if not self._state.waiters:
                return
            waiters, changes = settle(self._state.waiters, self._scene(moment), self._hold_s())
            self._state = replace(self._state, waiters=waiters)
            for change in changes:
                self._tell(change)
            if changes:
                self._save()

    def kept(self, uid: int, container_id: str) -> Kept:
        """As ``claim_turns.Turns`` says: a start that waits has its own offer, any other start that of the person's entry."""
        with self._lock:
            own = self._find(uid, container_id) or self._find(uid, None)
            claims = kept_claims(self._state.waiters, besides=own)
            if own is None or own.hold is None:
                return Kept(claims)
            return Kept(claims, [Reservation(own.id, own.hold.keys, frozenset({own.user}), frozenset(), own.hold.since, own.hold.until)])

    def _charge(self, moment: Moment) -> None:
        """Count what was held since the last look; what ended in between counts until now."""
        before = moment.claims if self._claims is None else self._claims
        self._claims = moment.claims
        if before or self._state.served:
            served = charge(self._state.served, before, self._state.charged_at, moment.now)
            self._state = replace(self._state, served=served, charged_at=moment.now)
            if self._unsaved_since is None:
                self._unsaved_since = moment.now
            elif moment.now - self._unsaved_since >= _SAVE_EVERY_S:
                self._save()

    # --- from anywhere --------------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Look up everybody who waits; who is not known now keeps their place."""
        with self._lock:
            uids = {one.uid for one in self._state.waiters}
        people = {}
        for uid in uids:
            try:
                people[uid] = self._limits_of(uid)
            except Refusal as refusal:
                self._audit.note("waiter_unknown", uid=uid, why=refusal.why)
        with self._lock:
            self._people = people

    def next_due(self) -> float | None:
        """When the next offer lapses, in seconds since the epoch; None without one."""
        with self._lock:
            return min((one.hold.until for one in self._state.waiters if one.hold is not None), default=None)

    def join(self, person: Limits, uid: int, request: str, container_id: str | None = None) -> Waiter:
        """A new entry, or the one that is there for the same request. Have the allocator arrange afterwards. Raises Refusal."""
        with self._lock:
            present = self._find(uid, container_id)
            if present is not None:
                if container_id is not None:
                    why = "a start of this container waits already"
                    raise Refusal(_WHAT, why, "Wait for it, or end it.", rule="queue.twice", status=409)
                if present.request == request:
                    return present
                next_step = "Leave first, which gives your place away: ds01 queue leave"
                raise Refusal(_WHAT, f"you wait already, for {present.request}", next_step, rule="queue.twice", status=409)
            starts = sum(one.uid == uid and one.container_id is not None for one in self._state.waiters)
            if container_id is not None and starts >= MOST_STARTS:
                why = f"{starts} starts of yours wait already, the most"
                raise Refusal(_WHAT, why, "Wait for one of them to start, or end it.", rule="queue.starts", status=409)
            waiter = Waiter(f"q{secrets.token_hex(6)}", uid, person.user, request, self._clock(), container_id)
            before = self._state
            self._state = replace(before, waiters=(*before.waiters, waiter))
            self._people[uid] = person
            if not self._save():
                self._state = before
                why = f"it can't be written down ({self._path})"
                raise Refusal(_WHAT, why, "Tell the administrator; the disk may be full.", rule="queue.unwritable", status=503)
        self._recorder.record(
            "queue.joined", user=waiter.user, uid=uid, container_id=container_id, details={"entry": waiter.id, "request": request}
        )
        return waiter

    def leave(self, waiter_id: str, why: str) -> bool:
        """End an entry; False when there is none. Have the allocator arrange afterwards: its offer is free."""
        with self._lock:
            waiter = next((one for one in self._state.waiters if one.id == waiter_id), None)
            if waiter is None:
                return False
            self._state = replace(self._state, waiters=tuple(one for one in self._state.waiters if one != waiter))
            self._save()
            self._left(waiter, why)
            return True

    def entry(self, uid: int) -> Waiter | None:
        """The person's own entry, which is not a start's."""
        with self._lock:
            return self._find(uid, None)

    def waits(self, waiter_id: str) -> bool:
        """Whether the entry is still there."""
        with self._lock:
            return any(one.id == waiter_id for one in self._state.waiters)

    def kept_for_waiters(self) -> list[Claim]:
        """What is kept for whom now, as claims."""
        with self._lock:
            return kept_claims(self._state.waiters)

    def places(self, moment: Moment) -> list[Place]:
        """Everybody who waits and where they stand, first come first."""
        with self._lock:
            waiters, scene = self._state.waiters, self._scene(moment)
        expected = estimates(waiters, scene)
        return [Place(one, position(waiters, scene, one.id) or 0, expected.get(one.id)) for one in waiters]

    def would_be(self, person: Limits, uid: int, request: str, moment: Moment) -> int:
        """Which place somebody would have who joined now, counted from 1."""
        with self._lock:
            waiters, scene, had = self._state.waiters, self._scene(moment), hours(self._state.served, uid)
        scene = replace(scene, people={**scene.people, uid: person}, hours={**scene.hours, uid: had})
        new = Waiter("~ after all of the same moment", uid, person.user, request, moment.now)
        return position((*waiters, new), scene, new.id) or 0

    # --- bells: a waiting start sleeps on a descriptor --------------------------------------------------------------------------------

    def bell(self, waiter_id: str) -> int:
        """A descriptor that can be read when something happened to the entry. Give it back with ``unbell``."""
        with self._lock:
            if waiter_id not in self._bells:
                self._bells[waiter_id] = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                waiter = next((one for one in self._state.waiters if one.id == waiter_id), None)
                if waiter is None or waiter.hold is not None:
                    os.eventfd_write(self._bells[waiter_id], 1)
            return self._bells[waiter_id]

    def unbell(self, waiter_id: str) -> None:
        """The descriptor is of no more use."""
        with self._lock:
            descriptor = self._bells.pop(waiter_id, None)
            if descriptor is not None:
                os.close(descriptor)

    def wake_all(self) -> None:
        """Ring for every start that waits: the gate ends."""
        with self._lock:
            for descriptor in self._bells.values():
                os.eventfd_write(descriptor, 1)

    def flush(self) -> None:
        """Write what is not written yet."""
        with self._lock:
            if self._unsaved_since is not None:
                self._save()

    # --- inside -----------------------------------------------------------------------------------------------------------------------

    def _scene(self, moment: Moment) -> Scene:
        lately = {one.uid: hours(self._state.served, one.uid) for one in self._state.waiters}
        return Scene(moment.inventory, moment.claims, moment.reservations, moment.blocked, dict(self._people), lately, moment.now)

    def _find(self, uid: int, container_id: str | None) -> Waiter | None:
        return next((one for one in self._state.waiters if one.uid == uid and one.container_id == container_id), None)

    def _tell(self, change: Change) -> None:
        waiter = change.waiter
        if change.what.ends:
            self._left(waiter, change.what.value)
        else:
            kind = "queue.offered" if change.what is What.OFFERED else "queue.withdrawn"
            devices = () if waiter.hold is None else waiter.hold.devices
            self._recorder.record(
                kind,
                user=waiter.user,
                uid=waiter.uid,
                container_id=waiter.container_id,
                gpus=tuple(dict.fromkeys(device.gpu_uuid for device in devices)),
                details={"entry": waiter.id, "request": waiter.request, "until": None if waiter.hold is None else waiter.hold.until},
            )
        self._ring(waiter.id)

    def _left(self, waiter: Waiter, why: str) -> None:
        details = {"entry": waiter.id, "request": waiter.request, "why": why, "waited_s": round(self._clock() - waiter.joined_at)}
        self._recorder.record("queue.left", user=waiter.user, uid=waiter.uid, container_id=waiter.container_id, details=details)

    def _ring(self, waiter_id: str) -> None:
        if waiter_id in self._bells:
            os.eventfd_write(self._bells[waiter_id], 1)

    def _save(self) -> bool:
        """Write the state; what can't be written now is tried with the next change, and said once."""
        try:
            queue_file.save(self._state, self._path)
        except OSError as error:
            if not self._failing:
                self._audit.note("queue_unwritable", path=self._path, why=str(error))
            self._failing = True
            return False
        self._failing = False
        self._unsaved_since = None
        return True
