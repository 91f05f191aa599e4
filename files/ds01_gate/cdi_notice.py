# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""How long a start waits for dockerd to notice the file of a claim that was just made.

dockerd watches the directory of CDI specs and says nothing when it has read a new one. A start that comes too early fails; it is tried
again, except that of a ``--rm`` container, which dockerd removes when a start of it fails: that one waits before its only try.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ds01.core.gate.verdict import GrantClaim
from ds01.core.refusal import Refusal

UNRESOLVABLE = "unresolvable CDI devices"
_NOTICE_S = 0.02
_MOST_CROWDED = 20.0


def cdi_pauses() -> Iterator[float]:
    """Seconds to wait before each further try at a start whose CDI device dockerd does not know yet; 3 s together."""
    yield from (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.5)


def notice_s(load: float, cpus: int) -> float:
    """Seconds that dockerd is given before the only try: 20 ms, and as many times that as there are runnable programs (``load``, as
    in /proc/loadavg) for a CPU, up to 0.4 s."""
    return _NOTICE_S * min(max(load / max(cpus, 1), 1.0), _MOST_CROWDED)


def notice_now() -> float:
    """``notice_s`` of this host at this moment."""
    return notice_s(os.getloadavg()[0], os.cpu_count() or 1)


def too_early(grant: GrantClaim) -> Refusal:
    """What a person is told whose ``--rm`` container is gone because dockerd had not noticed its GPU."""
    return Refusal(
        f"container {grant.container_name} did not start",
        "the server is so busy that Docker had not noticed the GPU that was given to it, and because of --rm Docker removed it",
        "Nothing is held. Start it again; without --rm the start is tried again for you.",
        rule="gpu-not-noticed",
        status=503,
    )
