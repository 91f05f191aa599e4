# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What really happens to a container in a random history, what its owner was told, and the policies that may hold."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from ds01.core.lifecycle import Leads
from ds01.core.lifecycle_reason import Reason
from ds01.core.lifecycle_subject import Subject
from ds01.core.limits import LifecycleLimits

KINDS = ("docker", "compose", "devcontainer", "ds01", "api", "batch", "unknown")
SUBJECTS = {kind: Subject(1000, "student1", kind, False, False) for kind in KINDS}
SLACK = 1e-3
LIFE = LifecycleLimits(
    idle=1800, runtime=86400, gpu_hold=900, container_hold=None, created_hold=1800, stop_grace=60, idle_cpu_percent=2.0, start_grace=0
)


class BrokenPromise(AssertionError):
    """The history and the sweep at which something was not as promised."""


@dataclass
class Told:
    """A warning that the owner has: when it came, what it said, and the lead that was promised then."""

    at: float
    until: float
    lead: float


@dataclass
class Truth:
    """What really is. ``now``: seconds since boot; ``wall`` is added to it for the wall clock.

    ``quiet``: how long it has been idle as far as anybody could see; ``life``: how long it has run; ``unseen``: how much of the time in
    which it did not run may be taken for running, because nobody looked.
    """

    now: float = 50_000.0
    wall: float = 1_792_000_000.0
    boot: int = 1
    run: int = 1
    started: float = 50_000.0
    cpu: float = 0.0
    net: int = 0
    doing: str = "idle"
    quiet: float = 0.0
    known_quiet: bool = False
    quiet_since: float | None = None
    life: float = 0.0
    unseen: float = 0.0
    down: bool = False
    told: dict[Reason, Told] = field(default_factory=dict)


def limits(chance: random.Random) -> LifecycleLimits:
    """Some policy."""
    return replace(
        LIFE,
        idle=chance.choice((None, 60, 600, 1800, 7200)),
        runtime=chance.choice((None, 600, 3600, 86400)),
        start_grace=chance.choice((0, 0, 600)),
        idle_window=chance.choice((60, 900)),
        runtime_counts=chance.choice(("life", "start")),
        idle_halves_at=chance.choice((None, 3)),
        unknown_use=chance.choice(("wait", "idle", "active")),
        keep_alive=chance.choice((None, 3600)),
    )


def leads(chance: random.Random) -> Leads:
    """Some promised warnings."""
    return Leads(chance.choice((30, 300, 900)), chance.choice((60, 1800)))
