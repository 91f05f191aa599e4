# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""How long the fuzzers run, and what they say about it.

``FUZZ_REQUESTS`` is the number of requests of all fuzzers together (110,000 by default, 3,000,000 under the profile ``fuzz``),
``FUZZ_SEED`` where the random numbers begin: always at the same place, at a new one under the profile ``fuzz``.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Iterator

from tests.search_effort import PROFILE

REQUESTS = int(os.environ.get("FUZZ_REQUESTS") or (3_000_000 if PROFILE == "fuzz" else 110_000))
SEED = int(os.environ.get("FUZZ_SEED") or (secrets.randbelow(2**32) if PROFILE == "fuzz" else 1))


class Tally:
    """Counts one fuzzer's requests. ``share`` is its part of ``REQUESTS``."""

    def __init__(self, name: str, share: float) -> None:
        self.name = name
        self.planned = max(1, round(REQUESTS * share))
        self.done = 0
        self.forwarded = 0
        self._started = time.perf_counter()

    def rounds(self) -> Iterator[random.Random]:
        """The random numbers of each request: ``FUZZ_SEED`` and the number of the request make them."""
        source = random.Random()
        for number in range(self.planned):
            self.done = number + 1
            source.seed(SEED * 1_000_003 + number)
            yield source

    @property
    def where(self) -> str:
        """How to see the request of this moment again."""
        return f"FUZZ_SEED={SEED}, request {self.done - 1} of {self.name}"

    def report(self, least_forwarded: float) -> None:
        """Print the numbers; fails when too few requests were let through, because then next to nothing was tried."""
        seconds = time.perf_counter() - self._started
        through = self.forwarded / self.done
        print(
            f"\n{self.name}: {self.done} requests in {seconds:.1f} s, {self.done / seconds:.0f}/s, {through:.0%} let through (seed {SEED})"
        )
        assert self.done == self.planned
        assert through >= least_forwarded, f"only {through:.1%} of {self.done} requests were let through"
