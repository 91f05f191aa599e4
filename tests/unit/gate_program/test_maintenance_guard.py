# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Starts are refused from the announced time on, with its message, until it is ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from ds01_gate.maintenance import MaintenanceGuard

from ds01 import maintenance_file
from ds01.core.maintenance import Maintenance
from ds01.core.refusal import Refusal


def test_from_the_announced_time_on_and_until_it_ends(tmp_path: Path) -> None:
    now = [1000.0]
    path = str(tmp_path / "maintenance.json")
    guard = MaintenanceGuard(path, lambda: now[0])
    guard.check()
    maintenance_file.save(Maintenance(2000.0, 3000.0, "new driver", "boss", 1000.0), path)
    guard.check()
    now[0] = 2000.0
    with pytest.raises(Refusal, match="new driver") as caught:
        guard.check()
    assert (caught.value.status, caught.value.rule) == (503, "maintenance")
    now[0] = 9000.0
    with pytest.raises(Refusal):
        guard.check()
    maintenance_file.remove(path)
    guard.check()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"begins": 1}'])
def test_a_file_that_cannot_be_read_starts_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "maintenance.json"
    path.write_text(text)
    with pytest.raises(Refusal) as caught:
        MaintenanceGuard(str(path)).check()
    assert (caught.value.status, caught.value.rule) == (503, "maintenance-unknown")
