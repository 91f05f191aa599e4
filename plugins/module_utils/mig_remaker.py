# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Asks ``ds01-mig`` for room on a GPU that may be re-partitioned on demand, when nothing that stands is free for somebody.

The decision here is only whether it is worth asking; what is touched is decided anew by ds01-mig, under the locks and with what the driver
says. A no is remembered for a moment, so that starts in a loop cost no more than one question each time.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from .core.chooser import reserved_for
from .core.devices import Inventory
from .core.gpu_request import GpuRequest
from .core.limits import Limits
from .core.offers import makeable
from .core.quota import Usage
from .core.reservation import Reservation

_LOG = logging.getLogger("ds01.mig_remaker")
PROGRAM = "/opt/ds01/current/bin/ds01-mig"
TIMEOUT_S = 60.0
REMEMBERED_S = 10.0
MOST_REMEMBERED = 1000


class Remaker:
    """One for the process; safe for several threads. ``run`` runs a command line and gives its exit code and what it said."""

    def __init__(
        self,
        program: str = PROGRAM,
        run: Callable[[Sequence[str]], tuple[int, str]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._program = program
        self._run = run or _run
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._refused: dict[tuple[str, ...], float] = {}

    def wishes(
        self, inventory: Inventory, limits: Limits, request: GpuRequest, held: Usage, reservations: Sequence[Reservation], now: float
    ) -> tuple[str, ...]:
        """What may be made for this person, as ``ds01-mig make`` takes it, smallest first; nothing where nothing may."""
        found = makeable(inventory, limits.gpu, request, held.remaining(limits.gpu.equivalents))
        open_to_them = [o for o in found if reserved_for(o, limits, reservations, now) is not False]
        return tuple(f"{o.gpu.uuid}/{o.device.profile}" for o in open_to_them)

    def make(self, wishes: tuple[str, ...], keep: Iterable[str]) -> bool:
        """True when room may have been made, so that choosing again is worth it. One at a time; never raises."""
        if not wishes:
            return False
        with self._lock:
            now = self._monotonic()
            if self._refused.get(wishes, 0.0) > now:
                return False
            kept = [word for key in sorted(set(keep)) for word in ("--keep", key)]
            code, said = self._run([self._program, "make", *kept, "--", *wishes])
            if code == 0:
                self._refused.clear()
                return True
            _LOG.info("nothing was re-partitioned for %s: %s", " ".join(wishes), said)
            if len(self._refused) >= MOST_REMEMBERED:
                self._refused.clear()
            self._refused[wishes] = now + REMEMBERED_S
            return False


def _run(command: Sequence[str]) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, umask=0o022
        )
    except (OSError, subprocess.SubprocessError) as error:
        return -1, str(error)
    return done.returncode, (done.stderr or done.stdout).strip()[-500:]
