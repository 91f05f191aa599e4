# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The table of capability minors, in the forms that drivers write it."""

from __future__ import annotations

import pytest

from ds01.core.cap_minors import parse_cap_minors


def test_both_forms_of_a_line_and_other_capabilities() -> None:
    table = parse_cap_minors("config 1\nmonitor 2\ngpu0/gi1/access 12\ngpu0/gi1/ci0/access 13\ngpu1/gi14/access 264\ngpu1/gi14/ci7 272\n\n")
    assert table.instances == {(0, 1): 12, (1, 14): 264}
    assert table.compute == {(0, 1, 0): 13, (1, 14, 7): 272}


def test_the_drivers_formula() -> None:
    """gi = 3 + 135 * GPU minor + 9 * GI id, ci = gi + 1 + CI id."""
    lines = [f"gpu{g}/gi{i}/access {3 + 135 * g + 9 * i}" for g in range(8) for i in range(15)]
    lines += [f"gpu{g}/gi{i}/ci{c}/access {4 + 135 * g + 9 * i + c}" for g in range(8) for i in range(15) for c in range(8)]
    table = parse_cap_minors("\n".join(lines))
    assert len(table.instances) == 8 * 15
    assert len(table.compute) == 8 * 15 * 8
    assert table.compute[7, 14, 7] == table.instances[7, 14] + 8


@pytest.mark.parametrize("line", ["gpu0/gi1/access", "gpu0/gi1/access x", "gpu0/gx1/access 3", "gpu0 3"])
def test_a_line_about_a_gpu_that_is_not_understood(line: str) -> None:
    with pytest.raises(ValueError, match=r"mig-minors: line"):
        parse_cap_minors(line)
