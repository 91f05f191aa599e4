# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""One row of the walk through the requirements, and the table of all."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

_WIDTHS = (10, 52, 60)


@dataclass
class Row:
    """What was done for a requirement, what was seen, and whether that was what it asks for."""

    id: str
    done: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    passed: bool = False

    def did(self, text: str) -> None:
        """Say what is tried, in words."""
        self.done.append(text)

    def saw(self, text: str) -> None:
        """Say what came of it, in words."""
        self.seen.append(text)

    def as_dict(self) -> dict[str, Any]:
        """For the file of results."""
        return asdict(self)


def table(rows: Iterable[Row]) -> str:
    """Id, what was done, what was seen, pass or fail; wrapped to a width that a terminal has."""
    heading = ("id", "what was done", "what was seen", "")
    lines = [_line(heading), "-" * (sum(_WIDTHS) + 10)]
    for row in rows:
        cells = [textwrap.wrap("; ".join(texts), width) or [""] for texts, width in ((row.done, _WIDTHS[1]), (row.seen, _WIDTHS[2]))]
        verdict = "pass" if row.passed else "FAIL"
        for number in range(max(map(len, cells))):
            did, saw = (cell[number] if number < len(cell) else "" for cell in cells)
            lines.append(_line((row.id if number == 0 else "", did, saw, verdict if number == 0 else "")))
    return "\n".join(lines)


def _line(cells: tuple[str, str, str, str]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, (*_WIDTHS, 4), strict=True)).rstrip()
