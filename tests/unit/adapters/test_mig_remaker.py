# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""When the gate asks for room on demand: only where something may be made for this person, and not again at once after a no."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ds01.core.devices import Potential
from ds01.core.devices_json import SnapshotError, from_json, to_json
from ds01.core.offers import offers
from ds01.core.quota import usage
from ds01.core.request_text import parse_request_text
from ds01.core.reservation import Reservation
from ds01.mig_remaker import REMEMBERED_S, Remaker
from tests.allocation_examples import SEVEN, claim, inventory, limits, mig_gpu, uuid

TWO, THREE = Potential(14, "2g.10gb", 2, 9856), Potential(9, "3g.20gb", 3, 19968)
STOCK = inventory(mig_gpu(0, SEVEN), mig_gpu(1, SEVEN, dynamic=(THREE, TWO)))


class Program:
    """ds01-mig, as the gate sees it."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.code = 0
        self.now = 1000.0

    def __call__(self, command: Sequence[str]) -> tuple[int, str]:
        self.calls.append(list(command))
        return self.code, "no room"


def wishes(request: str, *, reservations: Sequence[Reservation] = (), held: Sequence[Any] = (), **who: Any) -> tuple[str, ...]:
    return Remaker().wishes(STOCK, limits(**who), parse_request_text(request), usage(held, 1000), reservations, 1000.0)


def test_a_wish_is_what_policy_quota_and_request_allow() -> None:
    two, three = f"{uuid('GPU', 1)}/2g.10gb", f"{uuid('GPU', 1)}/3g.20gb"
    assert wishes("all") == (two, three) and wishes("3g") == (three,) and wishes("memory=12GiB") == (three,)
    assert wishes("all", equivalents=Fraction(2, 7)) == (two,)
    assert wishes("all", held=[claim(1, (offers(STOCK)[0].device,))], equivalents=Fraction(2, 7)) == ()
    assert wishes("all", profiles=("1g",)) == () and wishes("all", pools=("batch",)) == ()
    assert wishes("1g") == () and wishes("full", full_gpu=True) == () and wishes("2") == ()


def test_nothing_is_made_for_somebody_on_a_gpu_that_is_reserved_for_others() -> None:
    kept = Reservation("exam", frozenset({uuid("GPU", 1)}), frozenset({"prof"}), frozenset(), 2000.0, 3000.0)
    assert wishes("2g", reservations=[kept]) == (), "it could still run when the reservation begins"
    assert wishes("2g", reservations=[kept], user="prof") != ()
    assert wishes("2g", reservations=[kept], runtime=900) != ()


def test_the_program_is_told_what_to_make_and_what_to_keep() -> None:
    program = Program()
    remaker = Remaker("/x/ds01-mig", program, lambda: program.now)
    assert remaker.make(("GPU-1/2g", "GPU-1/3g"), ["b", "a", "b"])
    assert program.calls == [["/x/ds01-mig", "make", "--keep", "a", "--keep", "b", "--", "GPU-1/2g", "GPU-1/3g"]]
    assert not remaker.make((), ["a"]) and len(program.calls) == 1, "without a wish nothing is asked"


def test_starts_in_a_loop_ask_once_in_a_while() -> None:
    program = Program()
    program.code = 3
    remaker = Remaker("ds01-mig", program, lambda: program.now)
    assert not remaker.make(("a",), []) and not remaker.make(("a",), []) and len(program.calls) == 1
    assert not remaker.make(("b",), []) and len(program.calls) == 2, "another wish is another question"
    program.now += REMEMBERED_S
    program.code = 0
    assert remaker.make(("a",), []) and len(program.calls) == 3
    assert remaker.make(("b",), []), "after a change every question is open again"


def test_a_program_that_is_not_there_or_hangs_is_a_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Remaker(str(tmp_path / "nowhere")).make(("a",), [])
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr("ds01.mig_remaker.TIMEOUT_S", 0.05)
    assert not Remaker(str(slow)).make(("a",), [])


def test_the_snapshot_carries_what_may_be_made() -> None:
    assert from_json(to_json(STOCK)) == STOCK
    document = to_json(STOCK)
    document["gpus"][1]["dynamic"][0]["memory_mib"] = "much"
    with pytest.raises(SnapshotError, match=r"gpus\[1\]\.dynamic\[0\]\.memory_mib"):
        from_json(document)
    fixed = replace(STOCK, gpus=STOCK.gpus[:1])
    assert "dynamic" not in to_json(fixed)["gpus"][0], "older readers and writers agree"
