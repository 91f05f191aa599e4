# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What ``ds01 health`` says of a part of the platform, and what its exit code makes of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Level(str, Enum):
    """``ABSENT``: this server does not have the part, and need not."""

    OK = "ok"
    ABSENT = "absent"
    WARN = "warn"
    FAIL = "fail"


EXIT_CODES = {Level.OK: 0, Level.ABSENT: 0, Level.WARN: 1, Level.FAIL: 2}
"""Those of monitoring plug-ins: 0 all is well, 1 somebody should look, 2 something does not work."""


@dataclass(frozen=True)
class Finding:
    """``what`` is one sentence without a full stop, with the numbers; ``next_step`` a command or where to look, empty when all is well."""

    part: str
    level: Level
    what: str
    next_step: str = ""


def ok(part: str, what: str) -> Finding:
    """All is well."""
    return Finding(part, Level.OK, what)


def warn(part: str, what: str, next_step: str) -> Finding:
    """It works, and somebody should look."""
    return Finding(part, Level.WARN, what, next_step)


def fail(part: str, what: str, next_step: str) -> Finding:
    """It does not work."""
    return Finding(part, Level.FAIL, what, next_step)


def exit_code(findings: Iterable[Finding]) -> int:
    """The worst of them counts."""
    return max((EXIT_CODES[finding.level] for finding in findings), default=0)
