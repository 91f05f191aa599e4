# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the allocator and the gate need of the kernel's resource control: slices of people and of claims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .core.limits import AggregateLimits


class SliceError(RuntimeError):
    """A slice could not be made what it must be: which one, what was asked, what came back."""


class Slices(Protocol):
    """Slices by uid and claim (``core.slice_names``). Every call is idempotent and raises SliceError on failure."""

    def ensure_user_slice(self, uid: int, limits: AggregateLimits) -> bool:
        """The person's slice exists with these limits, open to the device filters below it; True when something was changed."""

    def open_claim_slice(self, uid: int, claim_id: str, nodes: Sequence[tuple[int, int]]) -> None:
        """The claim's slice exists and may open exactly these NVIDIA nodes (major, minor)."""

    def close_claim_slice(self, uid: int, claim_id: str) -> None:
        """The claim's slice may open no NVIDIA node; when nothing runs in it, it is gone."""

    def claim_slices(self) -> Sequence[tuple[int, str]]:
        """(uid, claim id) of every claim's slice there is."""


class NoSlices:
    """For hosts without systemd, such as a Docker daemon in a test: the claim's CDI spec is then the only lock."""

    def ensure_user_slice(self, uid: int, limits: AggregateLimits) -> bool:
        return False

    def open_claim_slice(self, uid: int, claim_id: str, nodes: Sequence[tuple[int, int]]) -> None:
        return None

    def close_claim_slice(self, uid: int, claim_id: str) -> None:
        return None

    def claim_slices(self) -> Sequence[tuple[int, str]]:
        return ()
