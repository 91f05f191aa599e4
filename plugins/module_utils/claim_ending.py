# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""How a claim ends: in two steps, so that its devices are free only when nothing can open them and nobody has them open.

Theory of operation.

    granted ──withdraw──▶ ending ──finish, no process lives──▶ gone
       ▲                    │  ▲
       └──────restore───────┘  └──finish, a process lives: its devices stay taken

Withdrawn, the spec no longer offers the device that the container asks for, and the slice opens no GPU: no start can begin with the
claim. Whoever wants to know whether one had begun before looks now: afterwards it is too late to begin, so that what the look shows
is final. Then the kernel is asked for living processes. A claim is its file in every state, so a kill at any point loses none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .claim_occupants import Occupants
from .claim_store import ClaimStore
from .core.cdi_spec import CdiSpecError, device_nodes, empty_spec, with_claim
from .core.claim import Claim
from .device_node import numbers
from .slice_control import SliceError, Slices

_LOG = logging.getLogger("ds01.allocator")


class ClaimEnding:
    """Call everything under the store's lock."""

    def __init__(self, store: ClaimStore, slices: Slices, occupants: Occupants, clock: Callable[[], float]) -> None:
        self._store = store
        self._slices = slices
        self._occupants = occupants
        self._clock = clock

    def withdraw(self, claim: Claim) -> None:
        """No start finds it from here on, and its slice opens no GPU. Its devices stay taken.

        Where that can't be written down (a full disk) the claim stays as it is, and ``finish`` decides by the processes alone.
        """
        if claim.ending_since is None:
            ending = replace(claim, held_until=None, ending_since=self._clock())
            try:
                self._store.write(claim.id, with_claim(self._spec(claim), ending))
            except OSError as error:
                _LOG.warning("claim %s can't be withdrawn before it ends: %s", claim.id, error)
        self.close(claim.uid, claim.id)

    def finish(self, claim: Claim) -> bool:
        """Remove a withdrawn claim when no process of its container lives. False: one does, or that can't be known."""
        try:
            if self._occupants.living([claim]):
                return False
        except OSError as error:
            _LOG.warning("claim %s stays: whether a process of its container lives can't be known: %s", claim.id, error)
            return False
        self.remove(claim)
        return True

    def end(self, claim: Claim) -> bool:
        """Both steps."""
        self.withdraw(claim)
        return self.finish(claim)

    def restore(self, claim: Claim) -> bool:
        """Its container runs: it is granted again, with the same devices. False where that can't be done now: it stays as it is."""
        try:
            spec = with_claim(self._store.spec(claim.id), replace(claim, held_until=None, ending_since=None, renewed_at=self._clock()))
            # Also where it could not be written down that the claim was ending: its slice was closed all the same.
            self._slices.open_claim_slice(claim.uid, claim.id, device_nodes(spec, numbers))
            self._store.write(claim.id, spec)
        except (OSError, SliceError, CdiSpecError) as error:
            _LOG.warning("claim %s stays taken back until the next look, though its container runs: %s", claim.id, error)
            return False
        return True

    def remove(self, claim: Claim) -> None:
        """At once: only for a claim with which nothing can have been started, or of which no process lives."""
        self._store.delete(claim.id)
        self.close(claim.uid, claim.id)

    def close(self, uid: int, claim_id: str) -> None:
        """Close a slice; one that can't be closed stays for the next reconcile, which finds it without a claim."""
        try:
            self._slices.close_claim_slice(uid, claim_id)
        except SliceError as error:
            _LOG.warning("slice of claim %s is left for reconcile: %s", claim_id, error)

    def _spec(self, claim: Claim) -> dict[str, Any]:
        try:
            return self._store.spec(claim.id)
        except CdiSpecError as error:
            _LOG.warning("claim %s is kept without what its spec said: %s", claim.id, error)
            return empty_spec(claim)
