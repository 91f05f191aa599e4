# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Keeps GPU claims true to what containers do: grants at a start, undoes a start that failed, holds or ends claims when containers end.

Theory of operation. A claim is granted before the start is forwarded and carries the moment of that grant. An event of an end that
is older than the grant belongs to an earlier run and changes nothing. Between grant and answer a start is *in flight*: reconciling
leaves it alone, and an end seen meanwhile is looked at when the answer is there (a short container ends before its start is
answered). ``_turn`` keeps a grant from falling between the look at a container and the release. What a killed gate leaves behind (a
grant whose start never reached dockerd) is found by reconciling, because then nothing is in flight and the container does not run.
How a claim ends, once that is decided, stands in ``claim_end``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ds01.allocator import AllocationError, Allocator
from ds01.claim_occupants import Occupants, ProcOccupants
from ds01.core.claim import Claim
from ds01.core.claim_reconcile import START_GRACE_S, ContainerState, ReconcilePlan
from ds01.core.gate.made_with import check_made_here
from ds01.core.gate.verdict import GrantClaim
from ds01.core.gpu_request import GpuRequest
from ds01.core.limits import Limits
from ds01.core.quota import usage
from ds01.core.refusal import Refusal
from ds01.docker_upstream import DaemonRefused, DaemonUnavailable, DockerClient, label_filter
from ds01.mig_remaker import Remaker
from ds01_gate.audit import Audit, RefusalRate
from ds01_gate.cdi_notice import UNRESOLVABLE, cdi_pauses
from ds01_gate.claim_end import ClaimEnd, alive
from ds01_gate.maintenance import MaintenanceGuard
from ds01_gate.recorder import Recorder
from ds01_gate.turn_keeper import TurnKeeper

CLAIM_LABEL = "ds01.claim"
# dockerd restores containers at its start before its CDI driver is there, and then says this instead.
_AUTOMATIC_START_FAILED = (UNRESOLVABLE, 'could not select device driver "cdi"')
_OWN_GRACE_S = 2.0
_RETRY_S = 5.0
_NEVER = "0001-01-01"


@dataclass
class Grant:
    """A claim made or renewed for one start. ``fresh``: this start made it, so that it goes when the start fails."""

    claim: Claim
    fresh: bool


class ClaimKeeper:
    """One for the process. Safe for several threads."""

    def __init__(
        self,
        allocator: Allocator,
        docker: DockerClient,
        audit: Audit,
        recorder: Recorder,
        maintenance: MaintenanceGuard,
        turns: TurnKeeper,
        clock: Callable[[], float] = time.time,
        remaker: Remaker | None = None,
        occupants: Occupants | None = None,
        orphan_seconds: float = 20.0,
    ) -> None:
        self.allocator = allocator
        self._remaker = remaker
        self._docker = docker
        self._audit = audit
        self._recorder = recorder
        self._maintenance = maintenance
        self._turns = turns
        self._rate = RefusalRate()
        self._clock = clock
        self._occupants = occupants or ProcOccupants()
        self._end = ClaimEnd(allocator, docker, audit, recorder, self._occupants, clock, orphan_seconds)
        self._lock = threading.Lock()
        self._turn = threading.RLock()
        self._in_flight: dict[str, int] = {}
        self._ended_in_flight: dict[str, tuple[str, float]] = {}

    @contextmanager
    def starting(self, container_id: str) -> Iterator[None]:
        """While the block runs, a start of that container is in flight."""
        with self._lock:
            self._in_flight[container_id] = self._in_flight.get(container_id, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight[container_id] -= 1
                seen = None
                if not self._in_flight[container_id]:
                    del self._in_flight[container_id]
                    seen = self._ended_in_flight.pop(container_id, None)
            if seen is not None:
                self.ended(container_id, *seen)

    def grant(self, wanted: GrantClaim, limits: Limits, observed: Limits | None = None) -> Grant:
        """The claim for a start; call it inside ``starting``. Raises Refusal and AllocationError.

        ``observed``: limits without quotas; given, a refusal under ``limits`` is logged and these count.
        """
        request = GpuRequest.parse(wanted.request)
        asked_at = self._clock()
        arguments = (wanted.uid, request, wanted.container_id, wanted.container_name)
        try:
            claim = self._grant_after_sweep(wanted.claim_id, limits, *arguments)
        except Refusal as refusal:
            if observed is None:
                self._refused(wanted, refusal)
                raise
            self._audit.note(
                "would_refuse", uid=wanted.uid, user=wanted.user, object=wanted.container_id, rule=refusal.rule, why=refusal.why
            )
            try:
                claim = self._grant_after_sweep(wanted.claim_id, observed, *arguments)
            except Refusal as stands:
                self._refused(wanted, stands)
                raise
        fresh = claim.granted_at >= asked_at
        self._recorder.claim("claim.granted", claim, request=claim.request, fresh=fresh)
        self._audit.note(
            "granted", claim=claim.id, uid=claim.uid, object=claim.container_id, devices=[d.key for d in claim.devices], fresh=fresh
        )
        return Grant(claim, fresh)

    def _refused(self, wanted: GrantClaim, refusal: Refusal) -> None:
        left_out = self._rate.take(wanted.uid)
        if left_out is None:
            return
        self._recorder.record(
            "claim.refused",
            user=wanted.user,
            uid=wanted.uid,
            container=wanted.container_name,
            container_id=wanted.container_id,
            details={"request": wanted.request, "rule": refusal.rule, "why": refusal.why, **({"left_out": left_out} if left_out else {})},
        )

    def _grant_after_sweep(
        self, claim_id: str, limits: Limits, uid: int, request: GpuRequest, container_id: str, container_name: str
    ) -> Claim:
        """Grant; before a refusal stands, claims whose container has ended in this moment, its event still under way, are let go, and
        room is made where a GPU may be re-partitioned for it."""
        try:
            with self._turn:
                return self.allocator.grant(claim_id, limits, uid, request, container_id, container_name)
        except Refusal:
            self._sweep(claim_id)
            try:
                with self._turn:
                    return self.allocator.grant(claim_id, limits, uid, request, container_id, container_name)
            except Refusal as stands:
                if stands.rule != "gpu.busy" or not self._make_room(limits, uid, request):
                    raise
            with self._turn:
                return self.allocator.grant(claim_id, limits, uid, request, container_id, container_name)

    def _sweep(self, but: str) -> None:
        """Let go what has ended. A container with a living process has not: dockerd is not asked, which may wait for a start."""
        ours = [claim for claim in self.allocator.claims() if claim.held_until is None and claim.id != but]
        try:
            living = self._occupants.living(ours)
            for claim in ours:
                if claim.id not in living:
                    self.ended(claim.container_id, claim.id, self._clock())
        except (OSError, DaemonUnavailable) as error:
            self._audit.note("sweep_failed", why=str(error))

    def _make_room(self, limits: Limits, uid: int, request: GpuRequest) -> bool:
        """Have a GPU that may change on demand re-partitioned, without any lock of ours. True: choose again."""
        if self._remaker is None:
            return False
        moment = self.allocator.moment()
        wishes = self._remaker.wishes(moment.inventory, limits, request, usage(moment.claims, uid), moment.reservations, moment.now)
        kept = [device.key for claim in self._turns.kept_for_waiters() for device in claim.devices] if wishes else []
        if not self._remaker.make(wishes, kept):
            return False
        self._recorder.record("mig.changed", user=limits.user, uid=uid, details={"why": "on demand", "for": request.text()})
        self._audit.note("repartitioned", uid=uid, user=limits.user, request=request.text())
        return True

    def undo(self, grant: Grant) -> None:
        """The start failed: what this start made goes at once, what it renewed is held as policy says.

        A container that runs after all keeps it.
        """
        with self._turn:
            state = self._end.state(grant.claim.container_id)
            if state is not None and alive(state):
                return
            hold = 0 if grant.fresh or state is None else grant.claim.hold
            if not self._let_go(grant.claim, hold, "the start failed"):
                return
        self._audit.note("undone", claim=grant.claim.id, uid=grant.claim.uid, object=grant.claim.container_id)

    def drop(self, container_id: str, claim_id: str) -> None:
        """The container is removed: its claim ends now. A label alone proves nothing: a Dockerfile writes any on a build's containers."""
        with self._turn:
            claim = self._of(claim_id, container_id)
            if claim is not None and self._end.end(claim, "the container was removed"):
                self._audit.note("released", claim=claim_id, uid=claim.uid, object=claim.container_id)

    def ended(self, container_id: str, claim_id: str, at: float) -> None:
        """A container with a claim ended at ``at`` (seconds since the epoch): its claim is held or ends, unless it runs again or is
        about to."""
        with self._turn:
            claim = self._of(claim_id, container_id)
            if claim is None or claim.held_until is not None or claim.renewed_at > at:
                return
            with self._lock:
                if container_id in self._in_flight:
                    self._ended_in_flight[container_id] = claim_id, at
                    return
            state = self._end.state(container_id)
            if state is not None and alive(state):
                return
            hold = 0 if state is None or claim.ending_since is not None else claim.hold
            if not self._let_go(claim, hold, "the container ended"):
                return
        self._audit.note("ended", claim=claim_id, uid=claim.uid, object=container_id, hold_s=claim.hold)

    def expire(self) -> float | None:
        """End the claims and offers whose hold is over, and those that could not end yet; seconds until the next look, None for none."""
        self._turns.refresh()
        for claim in self.allocator.expire():
            self._recorder.claim("claim.released", claim, why="its hold is over")
            self._audit.note("hold_over", claim=claim.id, uid=claim.uid, object=claim.container_id)
        for claim in self.allocator.claims():
            if claim.ending_since is not None and self._finish(claim):
                self._audit.note("ended", claim=claim.id, uid=claim.uid, object=claim.container_id)
        claims = self.allocator.claims()
        held = [claim.held_until for claim in claims if claim.held_until is not None]
        held += [self._clock() + _RETRY_S for claim in claims if claim.ending_since is not None][:1]
        offered = self._turns.next_due()
        due = [*held, offered] if offered is not None else held
        return max(0.0, min(due) - self._clock()) if due else None

    def reconcile(self, *, first: bool) -> ReconcilePlan:
        """Bring the claims in line with all containers. ``first``: a gate before this one may have a start under way at dockerd."""
        with self._lock:
            flying = set(self._in_flight)
        listed_at = self._clock()
        containers = self._docker.call("GET", f"/containers/json?all=1&{label_filter(CLAIM_LABEL)}")
        with self._lock:
            flying |= set(self._in_flight)
        states = [
            ContainerState(
                one["Id"], one["State"] in ("running", "paused", "restarting") or one["Id"] in flying, one["Labels"].get(CLAIM_LABEL)
            )
            for one in containers
        ]
        states += [ContainerState(one, True) for one in flying - {state.id for state in states}]
        states = [self._looked_at(one) if not one.alive and self._holds_unheld(one.id) else one for one in states]
        before = {claim.id: claim for claim in self.allocator.claims()}
        plan = self.allocator.reconcile(states, listed_at if first else listed_at + START_GRACE_S - _OWN_GRACE_S)
        dropped = [claim.id for claim in (before[one] for one in plan.drop if one in before) if self._finish(claim)]
        for claim_id, until in (plan.hold or {}).items():
            if claim_id in before:
                self._recorder.claim("claim.held", before[claim_id], until=until)
        if dropped or plan.hold or plan.resume or plan.close:
            self._audit.note(
                "reconciled",
                dropped=dropped,
                held=list(plan.hold or {}),
                resumed=list(plan.resume),
                closed=[c for _, c in plan.close],
            )
        if unclaimed := [one for one in plan.unclaimed if one not in flying]:
            self._audit.note("running_without_claim", containers=unclaimed)
        return plan

    def _let_go(self, claim: Claim, hold: int, why: str) -> bool:
        """Hold or end a claim, and record it. False when it can't end yet."""
        if hold <= 0:
            return self._end.end(claim, why)
        self.allocator.release(claim.id, hold)
        self._recorder.claim("claim.held", claim, until=self._clock() + hold)
        return True

    def _finish(self, planned: Claim) -> bool:
        """End a claim that reconciling has withdrawn, unless its container is being started meanwhile."""
        with self._turn:
            claim = self._of(planned.id, planned.container_id)
            with self._lock:
                if claim is None or claim.renewed_at != planned.renewed_at or claim.container_id in self._in_flight:
                    return False
            return self._end.end(claim, "its container does not run")

    def _of(self, claim_id: str, container_id: str) -> Claim | None:
        return next((one for one in self.allocator.claims() if one.id == claim_id and one.container_id == container_id), None)

    def _holds_unheld(self, container_id: str) -> bool:
        return any(claim.container_id == container_id and claim.held_until is None for claim in self.allocator.claims())

    def _looked_at(self, listed: ContainerState) -> ContainerState:
        """A container that the list says does not run, looked at itself before its claim is touched.

        The list may be older than a start that is under way, begun by a gate that was killed. The look at one container waits until
        dockerd has ended what it does with it.
        """
        state = self._end.state(listed.id)
        if state is None:
            return listed
        return ContainerState(listed.id, alive(state), listed.claim_id, moment(str(state.get("FinishedAt", _NEVER))))

    def restart_failed(self, limits_of: Callable[[int], Limits]) -> None:
        """Start again what dockerd could not start by itself because its claim was gone: after a reboot, or a restart behind the
        gate's back."""
        for one in self._docker.call("GET", f"/containers/json?all=1&{label_filter(CLAIM_LABEL)}"):
            if one["State"] not in ("exited", "created"):
                continue
            found = self._docker.find(f"/containers/{one['Id']}/json")
            if found is None or not any(words in found["State"].get("Error", "") for words in _AUTOMATIC_START_FAILED):
                continue
            if (found["HostConfig"].get("RestartPolicy") or {}).get("Name", "") not in ("always", "unless-stopped", "on-failure"):
                continue
            self._start_again(found, limits_of)

    def _start_again(self, found: dict[str, Any], limits_of: Callable[[int], Limits]) -> None:
        labels = found["Config"]["Labels"]
        container_id, name = found["Id"], found["Name"].lstrip("/")
        try:
            self._maintenance.check()
            check_made_here(found)
            uid = int(labels["ds01.uid"])
            wanted = GrantClaim(labels[CLAIM_LABEL], uid, labels["ds01.user"], container_id, name, labels["ds01.gpu.request"])
            with self.starting(container_id):
                grant = self.grant(wanted, limits_of(uid))
                try:
                    self.start_with_retries(lambda: self._docker.call("POST", f"/containers/{container_id}/start"))
                except (DaemonRefused, DaemonUnavailable):
                    self.undo(grant)
                    raise
        except (Refusal, AllocationError, DaemonRefused, DaemonUnavailable, KeyError, ValueError) as error:
            self._audit.note("restart_refused", object=container_id, container=name, why=str(error))
            return
        self._recorder.claim("claim.restarted", grant.claim)
        self._audit.note("restarted", object=container_id, container=name, uid=uid)

    @staticmethod
    def start_with_retries(start: Callable[[], Any]) -> Any:
        """Call ``start`` until dockerd has noticed the claim's new file: it watches the directory, which takes it a moment."""
        for pause in cdi_pauses():
            try:
                return start()
            except DaemonRefused as error:
                if UNRESOLVABLE not in error.message:
                    raise
                threading.Event().wait(pause)
        return start()


def moment(text: str) -> float | None:
    """Seconds since the epoch of dockerd's RFC 3339 time with nanoseconds; None for its zero time."""
    if text.startswith(_NEVER):
        return None
    whole, _, fraction = text.rstrip("Z").partition(".")
    try:
        return datetime.fromisoformat(f"{whole}+00:00").timestamp() + (float(f"0.{fraction}") if fraction.isdigit() else 0.0)
    except ValueError:
        return None
