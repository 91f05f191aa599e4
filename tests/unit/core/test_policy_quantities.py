# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Sizes, shares and durations: what they mean, that they come back, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.durations import format_duration, parse_duration
from ds01.core.quantities import format_share, format_size, parse_share, parse_size


@given(st.integers(0, 2**55))
def test_sizes_come_back(size: int) -> None:
    if size < 10**15:
        assert parse_size(format_size(size)) == size


@given(st.integers(0, 10**9))
def test_durations_come_back(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.fractions(0, 1000, max_denominator=1000))
def test_shares_come_back(share: Fraction) -> None:
    assert parse_share(format_share(share)) == share


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (parse_size, "1G", 2**30),
        (parse_size, "1GiB", 2**30),
        (parse_size, "1 GiB", 2**30),
        (parse_size, "1.5T", 3 * 2**39),
        (parse_size, "0.5K", 512),
        (parse_size, "0B", 0),
        (parse_size, "100B", 100),
        (parse_size, "10K", 10240),
        (parse_duration, "0", 0),
        (parse_duration, 0, 0),
        (parse_duration, "90s", 90),
        (parse_duration, "1h30m", 5400),
        (parse_duration, "2w1d", 15 * 86400),
        (parse_share, 2, Fraction(2)),
        (parse_share, 0.1, Fraction(1, 10)),
        (parse_share, "3/7", Fraction(3, 7)),
        (parse_share, "0.5", Fraction(1, 2)),
    ],
)
def test_what_they_mean(parse: Callable[[object], Any], text: object, expected: object) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("parse", "text"),
    [(parse_size, t) for t in ("", "G", "1", "1GB", "1g", "1.G", " 1G", "1G ", "1G\n", "1e3G", "١G", None, True, 1, 1.5, "9" * 16 + "G")]
    + [(parse_duration, t) for t in ("", "m", "1", "1M", "-1m", "1m1h", "1h1h", "1.5h", "1m\n", " 1m", None, True, 5, "١m", "0x")]
    + [(parse_share, t) for t in ("", "1/0", "-1", -1, "1/", "a", None, True, float("inf"), float("nan"), 10**7, "1e3", "1 / 7", "1\n")],
)
def test_what_is_refused(parse: Callable[[object], Any], text: object) -> None:
    with pytest.raises(ValueError, match="such as"):
        parse(text)
