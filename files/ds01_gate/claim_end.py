# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Ends claims: takes one back, looks once more, frees its devices when nothing of its container lives, and says so when something does.

What dockerd lost (it was killed in the middle of a start, and says ``created`` of a container whose process runs) keeps its GPU for
``orphan_seconds``: that long a process may take to end by itself. Then it is killed, because nobody can stop it through dockerd any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ds01.allocator import Allocator
from ds01.claim_occupants import Occupants
from ds01.core.claim import Claim
from ds01.docker_upstream import DaemonRefused, DaemonUnavailable, DockerClient, segment
from ds01_gate.audit import Audit
from ds01_gate.recorder import Recorder


class ClaimEnd:
    """Not safe for several threads: the keeper calls it in its turn."""

    def __init__(
        self,
        allocator: Allocator,
        docker: DockerClient,
        audit: Audit,
        recorder: Recorder,
        occupants: Occupants,
        clock: Callable[[], float],
        orphan_seconds: float,
    ) -> None:
        self._allocator = allocator
        self._docker = docker
        self._audit = audit
        self._recorder = recorder
        self._occupants = occupants
        self._clock = clock
        self._orphan_seconds = orphan_seconds
        self._said: set[str] = set()

    def state(self, container_id: str) -> dict[str, Any] | None:
        """dockerd's word on a container, None when it knows none; it waits until dockerd has ended what it does with it."""
        found = self._docker.find(f"/containers/{segment(container_id)}/json")
        return None if found is None else dict(found["State"])

    def end(self, claim: Claim, why: str) -> bool:
        """End a claim whose container does not run. False when it stays: the container was started meanwhile, or a process lives."""
        if self._allocator.withdraw(claim.id) is None:
            return False
        try:
            state = self.state(claim.container_id)
        except (DaemonRefused, DaemonUnavailable) as error:
            # Reconciling takes it up when dockerd is back.
            self._audit.note("end_delayed", claim=claim.id, uid=claim.uid, object=claim.container_id, why=str(error))
            return False
        if state is not None and alive(state):
            self._allocator.restore(claim.id)
            self._audit.note("end_withdrawn", claim=claim.id, uid=claim.uid, object=claim.container_id)
            return False
        if self._allocator.finish(claim.id):
            self._said.discard(claim.id)
            self._recorder.claim("claim.released", claim, why=why)
            return True
        self._quarantined(claim, "gone" if state is None else str(state.get("Status", "not running")))
        return False

    def _quarantined(self, claim: Claim, status: str) -> None:
        """A process of a container lives that does not run by dockerd's word of just now."""
        if claim.id not in self._said:
            self._said.add(claim.id)
            why = f"dockerd says that the container is {status}, and a process of it lives"
            self._recorder.claim("claim.quarantined", claim, why=why)
            self._audit.note("quarantined", claim=claim.id, uid=claim.uid, object=claim.container_id, dockerd=status)
        if claim.ending_since is None or self._clock() - claim.ending_since < self._orphan_seconds:
            return
        try:
            self._occupants.end(claim)
        except OSError as error:
            self._audit.note("orphan_stays", claim=claim.id, uid=claim.uid, object=claim.container_id, why=str(error))
            return
        self._audit.note("orphan_ended", claim=claim.id, uid=claim.uid, object=claim.container_id)


def alive(state: dict[str, Any]) -> bool:
    """Whether dockerd's word on a container is that it runs or is about to."""
    return bool(state.get("Running") or state.get("Restarting") or state.get("Paused"))
