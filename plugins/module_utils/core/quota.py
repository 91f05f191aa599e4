# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a person holds against their quota, in GPU-equivalents (1 = one full GPU), and how that is said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from fractions import Fraction

from .claim import Claim


@dataclass(frozen=True)
class Usage:
    """The claims of one person, oldest first. A stopped container within its hold counts: it keeps its device."""

    uid: int
    claims: tuple[Claim, ...]

    @property
    def equivalents(self) -> Fraction:
        """The sum over the claims, in GPU-equivalents."""
        return sum((c.equivalents for c in self.claims), Fraction(0))

    def remaining(self, quota: Fraction | None) -> Fraction | None:
        """What may still be claimed, never negative; None without a quota."""
        return None if quota is None else max(Fraction(0), quota - self.equivalents)

    def sentence(self, quota: Fraction | None) -> str:
        """``you hold 1 of 1 GPU-equivalents: train (3g.20gb)``."""
        limit = "" if quota is None else f" of {number(quota)}"
        held = ", ".join(f"{c.container_name} ({' + '.join(d.kind for d in c.devices)})" for c in self.claims)
        return f"you hold {number(self.equivalents)}{limit} GPU-equivalents" + (f": {held}" if held else "")


def usage(claims: Iterable[Claim], uid: int) -> Usage:
    """What ``uid`` holds among ``claims``."""
    return Usage(uid, tuple(sorted((c for c in claims if c.uid == uid), key=lambda c: (c.granted_at, c.id))))


def number(value: Fraction) -> str:
    """GPU-equivalents for people: at most two decimals, none that say nothing (``1``, ``0.43``)."""
    return f"{float(value):.2f}".rstrip("0").rstrip(".")


def moment(at: float) -> str:
    """A time for people: ``2026-11-22 14:05 UTC``."""
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
