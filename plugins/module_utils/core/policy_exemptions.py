# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which exemptions are in force for a person, or for one of their containers, at a given moment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from .policy_model import Exemption, Policy


def in_force(policy: Policy, *, user: str, group: str, now: datetime, container: str | None = None) -> Iterator[Exemption]:
    """The exemptions that hold at ``now`` (with a time zone). Those of single containers only where ``container`` names one.

    An exemption ends at ``expires``: at that very moment it holds no longer.
    """
    if now.tzinfo is None:
        raise ValueError("now has no time zone; expected UTC")
    for exemption in policy.exemptions:
        whose = exemption.user == user if exemption.user is not None else exemption.group == group
        which = exemption.container is None or exemption.container == container
        lasts = exemption.expires is None or now < exemption.expires
        if whose and which and lasts:
            yield exemption


def described(exemption: Exemption) -> str:
    """How an exemption is named as the source of a value: ``exemption until 2027-04-01 00:00 UTC (thesis deadline)``."""
    until = "without end" if exemption.expires is None else f"until {exemption.expires.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
    return f"exemption {until} ({exemption.reason})"
