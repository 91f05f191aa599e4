# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What people write in the label ``ds01.gpu`` to ask for GPUs: ``2``, ``2g.10gb``, ``2 x 1g.5gb``, ``full``, ``memory=20GiB``, ``all``."""

from __future__ import annotations

import re
from typing import TypeVar

from .gpu_request import GpuRequest
from .quantities import parse_size

EXPECTED = "expected all, a number, full, a profile (2g.10gb), memory=20GiB, uuid=ID, or several with commas; 2x1g.5gb is two of a kind"
_PROFILE = re.compile(r"[1-9]g(\.[0-9]{1,4}gb)?(\+[a-z.]{1,8})?", re.IGNORECASE)
_TIMES = re.compile(r"([0-9]{1,2})\s*[x×]\s*(.+)", re.IGNORECASE)
_UUID = re.compile(r"[A-Za-z0-9/@:-]{1,80}")
_MIB = 1024**2
T = TypeVar("T")


def parse_request_text(text: str) -> GpuRequest:
    """The request that a person wrote; raises ValueError naming the part that is not understood and what would be right."""
    count: int | None = None
    profile: str | None = None
    memory: int | None = None
    full = everything = False
    uuids: list[str] = []
    for part in (p.strip() for p in text.split(",")):
        times = _TIMES.fullmatch(part)
        if times is not None:
            count, part = _once("count", count, _number(text, times.group(1))), times.group(2).strip()
        key, separator, value = (p.strip() for p in part.partition("="))
        if part.lower() == "all":
            everything = True
        elif part.lower() == "full":
            full = True
        elif part.isascii() and part.isdigit():
            count = _once("count", count, _number(text, part))
        elif key == "count" and separator:
            count = _once("count", count, _number(text, value))
        elif key == "memory" and separator:
            memory = _once("memory", memory, _mebibytes(text, value))
        elif key == "uuid" and _UUID.fullmatch(value):
            uuids.append(value)
        elif _PROFILE.fullmatch(value if key == "profile" and separator else part):
            profile = _once("profile", profile, (value if separator else part).lower())
        else:
            raise ValueError(f"GPU request {text!r}: {part!r} is not understood; {EXPECTED}")
    if everything and (count is not None or profile is not None or memory is not None or full or uuids):
        raise ValueError(f"GPU request {text!r}: all stands alone; {EXPECTED}")
    if full and (profile is not None or uuids):
        raise ValueError(f"GPU request {text!r}: full is a whole GPU and goes with neither a profile nor a UUID")
    if uuids and count is not None and count != len(uuids):
        raise ValueError(f"GPU request {text!r}: {count} devices asked for, {len(uuids)} named")
    return GpuRequest(count if count is not None else max(1, len(uuids)), profile, memory, full, tuple(uuids), everything)


def _once(name: str, before: T | None, value: T) -> T:
    if before is not None:
        raise ValueError(f"GPU request: {name} is given twice ({before} and {value})")
    return value


def _number(text: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and 0 < int(value) <= 64):
        raise ValueError(f"GPU request {text!r}: {value!r} is no number of devices; expected 1 to 64")
    return int(value)


def _mebibytes(text: str, value: str) -> int:
    try:
        size = parse_size(value)
    except ValueError as error:
        raise ValueError(f"GPU request {text!r}: memory={value!r}: expected {error}") from error
    if size <= 0:
        raise ValueError(f"GPU request {text!r}: memory={value!r}: expected more than nothing")
    return -(-size // _MIB)
