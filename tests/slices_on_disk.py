# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``Slices`` as files, so that they outlive a killed process as the kernel's do: one file a claim's slice, its text the open nodes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ds01.core.limits import AggregateLimits
from ds01.slice_control import SliceError


class SlicesOnDisk:
    """``broken`` names the calls that fail."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir(exist_ok=True)
        self.broken: set[str] = set()

    def ensure_user_slice(self, uid: int, limits: AggregateLimits) -> bool:
        self._fail("ensure_user_slice")
        (self.directory / f"u{uid}").write_text(str(limits))
        return True

    def open_claim_slice(self, uid: int, claim_id: str, nodes: Sequence[tuple[int, int]]) -> None:
        self._fail("open_claim_slice")
        (self.directory / f"u{uid}-{claim_id}").write_text(" ".join(f"{major}:{minor}" for major, minor in nodes))

    def close_claim_slice(self, uid: int, claim_id: str) -> None:
        self._fail("close_claim_slice")
        (self.directory / f"u{uid}-{claim_id}").unlink(missing_ok=True)

    def claim_slices(self) -> Sequence[tuple[int, str]]:
        self._fail("claim_slices")
        found = (re.fullmatch(r"u(\d+)-(c.*)", p.name) for p in self.directory.iterdir())
        return sorted((int(m.group(1)), m.group(2)) for m in found if m is not None)

    def open_nodes(self, uid: int, claim_id: str) -> set[str]:
        """The nodes that a claim's slice may open."""
        return set((self.directory / f"u{uid}-{claim_id}").read_text().split())

    def _fail(self, call: str) -> None:
        if call in self.broken:
            raise SliceError(f"{call} is broken")
