# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the gate counts reaches the watcher, bounded and without a way to make it fail."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from ds01_gate.audit import Audit
from ds01_gate.measures import Measures

from ds01.core.gate_measures import BOUNDS_S, from_dict


def test_what_is_counted_is_read_back(tmp_path: Path) -> None:
    measures = Measures(str(tmp_path / "m.json"), Audit(io.StringIO()), lambda: (3, 2, False), lambda: 77.0)
    for _ in range(3):
        with measures.judging():
            measures.answered("refused", "gpu.quota")
    measures.answered("forwarded")
    measures.write()
    assert (tmp_path / "m.json").stat().st_mode & 0o777 == 0o600
    found = from_dict(json.loads((tmp_path / "m.json").read_text()))
    assert found.verdicts == {("forwarded", ""): 1, ("refused", "gpu.quota"): 3}
    assert (sum(found.judged), len(found.judged)) == (3, len(BOUNDS_S) + 1)
    assert (found.connections, found.events_lost, found.policy_ok, found.uptime) == (3, 2, False, 77.0)


def test_many_rules_stay_few_series(tmp_path: Path) -> None:
    measures = Measures(str(tmp_path / "m.json"), Audit(io.StringIO()), lambda: (0, 0, True))
    for number in range(1000):
        measures.answered("refused", f"rule-{number}")
    assert len(measures.now().verdicts) <= 201
    assert sum(measures.now().verdicts.values()) == 1000


def test_a_place_that_cannot_be_written_is_noted_once(tmp_path: Path) -> None:
    said = io.StringIO()
    measures = Measures(str(tmp_path / "nowhere" / "m.json"), Audit(said), lambda: (0, 0, True))
    measures.write()
    measures.write()
    assert said.getvalue().count("measures_failed") == 1


@pytest.mark.parametrize("document", [None, [], {}, {"v": 2, "judged": []}, {"v": 1, "judged": [1]}])
def test_another_shape_is_refused(document: object) -> None:
    with pytest.raises(ValueError):
        from_dict(document)
