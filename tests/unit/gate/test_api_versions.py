# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which daemons the gate stands before, in which API, and what it says to the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ds01.core.gate.api_versions import DaemonNotSupported, spoken
from ds01.core.gate.verdict import Answer, Forward
from tests.unit.gate.gate_world import CONTEXT, World, status_of


@pytest.mark.parametrize(
    ("release", "newest", "oldest", "expected"),
    [
        ("26.1.5", "1.45", "1.24", ((1, 41), (1, 45))),
        ("27.5.1", "1.47", "1.24", ((1, 41), (1, 47))),
        ("28.5.2", "1.51", "1.24", ((1, 41), (1, 51))),
        ("29.0.0", "1.52", "1.44", ((1, 44), (1, 51))),
        ("35.0.0", "1.70", "1.51", ((1, 51), (1, 51))),
        ("28.5.2", "1.51", "", ((1, 41), (1, 51))),
    ],
)
def test_what_is_spoken(release: str, newest: str, oldest: str, expected: object) -> None:
    assert spoken({"Version": release, "ApiVersion": newest, "MinAPIVersion": oldest}) == expected


@pytest.mark.parametrize(
    ("release", "newest", "oldest", "words"),
    [
        ("20.10.24", "1.41", "1.12", "Install Docker 26"),
        ("25.0.5", "1.44", "1.24", "Install Docker 26"),
        ("36.0.0", "1.71", "1.52", "newer ds01.infra"),
        ("", "x", "", "no version"),
        ("28", None, "", "no version"),
        ("28", "2.x", "", "no version"),
    ],
)
def test_what_is_refused_and_why(release: str, newest: object, oldest: str, words: str) -> None:
    with pytest.raises(DaemonNotSupported, match=words) as caught:
        spoken({"Version": release, "ApiVersion": newest, "MinAPIVersion": oldest})
    assert release in str(caught.value)


@pytest.mark.parametrize(
    ("version", "status"), [("1.41", 400), ("1.43", 400), ("1.44", 200), ("1.51", 200), ("1.52", 400), ("1.100", 400), ("2.0", 400)]
)
def test_a_client_is_told_the_range_as_dockerd_tells_it(version: str, status: int) -> None:
    there = World(context=replace(CONTEXT, api_min=(1, 44)))
    verdict = there.ask("GET", f"/v{version}/info")
    assert status_of(verdict) == status
    assert isinstance(verdict, Answer if status == 400 else Forward)
