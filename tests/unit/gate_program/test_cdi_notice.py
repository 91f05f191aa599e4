# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""How long a start waits for dockerd to see a claim."""

from __future__ import annotations

import pytest
from ds01_gate.cdi_notice import cdi_pauses, notice_now, notice_s, too_early

from ds01.core.gate.verdict import GrantClaim


@pytest.mark.parametrize(
    ("load", "cpus", "seconds"),
    [(0.0, 8, 0.02), (8.0, 8, 0.02), (16.0, 8, 0.04), (80.0, 8, 0.2), (1e6, 8, 0.4), (2.0, 0, 0.04)],
)
def test_a_crowded_host_is_given_more_time(load: float, cpus: int, seconds: float) -> None:
    assert notice_s(load, cpus) == pytest.approx(seconds)


def test_waiting_has_an_end() -> None:
    assert 0.02 <= notice_now() <= 0.4
    assert sum(cdi_pauses()) < 3.1


def test_a_container_that_is_gone_is_said_to_be() -> None:
    refusal = too_early(GrantClaim("c" * 13, 3101, "student1", "ab" * 32, "train", "", removed_on_failure=True))
    assert refusal.status == 503
    assert "train" in refusal.what and "--rm" in refusal.why and "again" in refusal.next_step
