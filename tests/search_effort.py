# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""How property tests search: the same examples every time in CI, new ones at a desk, many when fuzzing.

No profile has a deadline per example: a busy machine is no mistake in the code.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

FUZZ_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "20000"))
"""Examples of each property under the profile ``fuzz``."""
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
"""``HYPOTHESIS_PROFILE`` chooses; else it is ``ci`` where ``CI`` is set, and ``dev`` elsewhere."""


def register_profiles() -> None:
    """Make ``ci``, ``dev`` and ``fuzz`` known and load the one of this run."""
    patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("ci", parent=patient, derandomize=True, database=None, print_blob=True)
    settings.register_profile("dev", parent=patient)
    settings.register_profile("fuzz", parent=patient, max_examples=FUZZ_EXAMPLES, print_blob=True)
    settings.load_profile(PROFILE)


def tries(everyday: int) -> settings:
    """Decorator of a property test: ``everyday`` examples, or ``FUZZ_EXAMPLES`` under the profile ``fuzz``."""
    return settings(max_examples=FUZZ_EXAMPLES if PROFILE == "fuzz" else everyday)
