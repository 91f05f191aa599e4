# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which devices are claimed, by whom: what MIG changes must leave alone, from the directory of claims."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from .claim_store import ClaimStore
from .core.devices import Inventory

CLAIMS = Path("/run/cdi")
LOCK = Path("/run/ds01/claims.lock")


class Claims(Protocol):
    """Who holds devices, and the lock under which that can't change."""

    def lock(self) -> AbstractContextManager[None]:
        """Held while devices are destroyed and the snapshot is published: nothing is granted meanwhile."""

    def holders(self, inventory: Inventory) -> dict[str, str]:
        """Device key (``core.devices``) → who holds it, in words."""


class ClaimFiles:
    """Claims as the allocator keeps them. A hold that is over counts no more; a file that can't be read keeps what it names."""

    def __init__(self, directory: Path = CLAIMS, lock_file: Path = LOCK, clock: Callable[[], float] = time.time) -> None:
        self._store = ClaimStore(directory, lock_file)
        self._clock = clock

    def lock(self) -> AbstractContextManager[None]:
        """The lock of all claims."""
        return self._store.lock()

    def holders(self, inventory: Inventory) -> dict[str, str]:
        """Device key → claim and person. Keys are looked up by UUID where a claim file is damaged."""
        table = self._store.read()
        now = self._clock()
        held: dict[str, str] = {}
        for claim in table.claims:
            if claim.held_until is None or claim.held_until > now:
                held.update({d.key: f"claim {claim.id} of {claim.user} (container {claim.container_name})" for d in claim.devices})
        keys = {i.mig_uuid: i.key for g in inventory.gpus for i in g.instances} | {g.uuid: g.key for g in inventory.gpus}
        for corrupt in table.corrupt:
            held.update({keys[u]: f"the damaged claim file {corrupt.path}" for u in corrupt.devices if u in keys})
        return held
