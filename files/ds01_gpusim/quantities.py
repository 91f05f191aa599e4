# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What is typed on the command line, as numbers: sizes, instances, lists of reasons."""

from __future__ import annotations

import argparse
import re

from .changes import THROTTLE_REASONS

_UNITS = {"": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def memory_size(text: str) -> int:
    """Bytes of ``512MiB``, ``4GiB``, or a plain number of bytes."""
    match = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", text)
    if match is None or match[2].upper() not in _UNITS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 512MiB or 4GiB")
    return int(match[1]) * _UNITS[match[2].upper()]


def instance(text: str) -> tuple[int, int]:
    """GPU instance and compute instance of ``2/0``, or of ``2`` for its compute instance 0."""
    match = re.fullmatch(r"(\d+)(?:/(\d+))?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an instance such as 2/0 (GPU instance/compute instance)")
    return int(match[1]), int(match[2] or 0)


def percentage(text: str) -> int:
    """0 to 100."""
    if not text.isdecimal() or int(text) > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 100")
    return int(text)


def natural(text: str) -> int:
    """A whole number, not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def throttle_reasons(text: str) -> int:
    """Bits of a list of names such as ``sw-thermal,power-cap``, or of ``none``."""
    bits = 0
    for name in text.split(",") if text != "none" else []:
        if name not in THROTTLE_REASONS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(THROTTLE_REASONS)}, none")
        bits |= THROTTLE_REASONS[name]
    return bits


def on_or_off(text: str) -> bool:
    """``on`` or ``off``."""
    if text not in ("on", "off"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither on nor off")
    return text == "on"
