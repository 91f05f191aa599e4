# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Durations in seconds, as people write them: ``90s``, ``30m``, ``1h30m``, ``7d``, ``2w``. Zero is ``0``."""

from __future__ import annotations

import re

DURATION_PATTERN = r"^(?=[0-9])(0|([0-9]{1,4}w)?([0-9]{1,5}d)?([0-9]{1,6}h)?([0-9]{1,8}m)?([0-9]{1,9}s)?)$"
DURATION_ALLOWED = "a duration with a unit, such as 90s, 30m, 1h30m, 7d or 2w; or 0"

_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(DURATION_PATTERN[:-1])


def parse_duration(value: object) -> int:
    """Seconds for ``1h30m`` and the like; raises ValueError saying what would be right."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value == 0:
            return 0
        raise ValueError(f"{DURATION_ALLOWED}; a number alone has no unit: did you mean {value}m?")
    if not isinstance(value, str) or _DURATION.fullmatch(value) is None:
        raise ValueError(DURATION_ALLOWED)
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)([wdhms])", value))


def format_duration(seconds: int) -> str:
    """The usual text for a number of seconds: ``1d12h``, ``90s`` becomes ``1m30s``. ``parse_duration`` takes it back."""
    if seconds == 0:
        return "0"
    text = ""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, seconds = divmod(seconds, length)
        text += f"{number}{unit}" if number else ""
    return text
