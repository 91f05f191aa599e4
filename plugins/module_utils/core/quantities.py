# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Sizes in bytes and shares of a GPU, as people write them.

Units of size are binary, as in Docker and systemd: ``K``, ``M``, ``G``, ``T`` mean KiB, MiB, GiB, TiB. ``GB`` is refused,
because half of its readers take it for 10^9.
"""

from __future__ import annotations

import re
from fractions import Fraction

SIZE_PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,15})? ?(B|[KMGT](iB)?)$"
SHARE_PATTERN = r"^[0-9]{1,6}(\.[0-9]{1,9}|/[1-9][0-9]{0,5})?$"
SIZE_ALLOWED = "a size with a unit, such as 512M, 32G or 2T (or KiB, MiB, GiB, TiB, B; 1G is 1 GiB)"
SHARE_ALLOWED = 'a number or a fraction in text, such as 2, 0.5 or "3/7"'

_UNITS = {"B": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SIZE = re.compile(SIZE_PATTERN.rstrip("$"))
_SHARE = re.compile(SHARE_PATTERN.rstrip("$"))


def parse_size(text: object) -> int:
    """Bytes for ``32G``, ``1.5GiB``, ``4096B``; raises ValueError saying what would be right."""
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        raise ValueError(f"{SIZE_ALLOWED}; a number alone has no unit: did you mean {text}G?")
    if not isinstance(text, str) or _SIZE.fullmatch(text) is None:
        raise ValueError(SIZE_ALLOWED)
    number = text.rstrip("BKMGTi ")
    unit = text[len(number) :].strip()[0]
    size = Fraction(number) * Fraction(1024) ** _UNITS[unit]
    if size.denominator != 1:
        raise ValueError(f"{SIZE_ALLOWED}; {text} is not a whole number of bytes")
    return size.numerator


def format_size(size: int) -> str:
    """The shortest exact text for a number of bytes: ``32 GiB``. ``parse_size`` takes it back."""
    for unit, power in (("TiB", 4), ("GiB", 3), ("MiB", 2), ("KiB", 1)):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power} {unit}"
    return f"{size} B"


def parse_share(value: object) -> Fraction:
    """A number of GPU-equivalents, exactly: 2, 0.5, ``"3/7"``; raises ValueError saying what would be right."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(SHARE_ALLOWED)
    if isinstance(value, (int, float)):
        if not 0 <= value < 1_000_000:
            raise ValueError(SHARE_ALLOWED)
        return Fraction(str(value))
    if _SHARE.fullmatch(value) is None:
        raise ValueError(SHARE_ALLOWED)
    return Fraction(value)


def format_share(share: Fraction) -> str:
    """``2``, ``3/7``, ``3/2``. ``parse_share`` takes it back."""
    return str(share)
