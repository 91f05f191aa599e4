# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Tables, bars and colour for a terminal; the same text without colour where the output is not one."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

_CODES = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1"}
_NARROWEST = 8


def colourful() -> bool:
    """Whether to colour: standard output is a terminal and NO_COLOR (no-color.org) is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str) -> str:
    """``text`` in ``colour`` where colour is wanted."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colourful() and text else text


def printable(text: object) -> str:
    """``text`` without control characters, so that a container's name cannot steer the reader's terminal."""
    return "".join(character if character.isprintable() else "?" for character in str(text))


def columns() -> int | None:
    """How wide the terminal is; None where standard output is none, so that programs get every name in full."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _fitted(widths: Sequence[int], headers: Sequence[int], width: int) -> list[int]:
    """``widths`` with the widest columns made narrower until the line fits, none narrower than its header or eight."""
    fitted = list(widths)
    least = [min(wide, max(header, _NARROWEST)) for wide, header in zip(widths, headers, strict=True)]
    surplus = sum(fitted) + 2 * (len(fitted) - 1) - width
    while surplus > 0:
        widest = max(range(len(fitted)), key=lambda i: fitted[i] - least[i])
        if fitted[widest] == least[widest]:
            break
        fitted[widest] -= 1
        surplus -= 1
    return fitted


def wrapped(text: str, stream: TextIO) -> str:
    """``text`` broken between words where ``stream`` is a terminal that is narrower; its own lines stay."""
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    lines = (textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""] for line in text.split("\n"))
    return "\n".join(part for found in lines for part in found)


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    colours: Sequence[str | None] = (),
    width: int | None = None,
    optional: Sequence[str] = (),
) -> str:
    """Aligned columns, two blanks apart; ``colours`` gives one colour (or None) for each row; cells are cut to fit ``width``.

    An ``optional`` column in which nothing stands is left out.
    """
    kept = [i for i, name in enumerate(header) if name not in optional or any(str(row[i]) for row in rows)]
    header, rows = [header[i] for i in kept], [[row[i] for i in kept] for row in rows]
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
    if width is not None:
        widths = _fitted(widths, [len(name) for name in header], width)

    def line(row: Sequence[str]) -> str:
        cut = (cell if len(cell) <= wide else cell[: wide - 1] + "~" for cell, wide in zip(row, widths, strict=True))
        return "  ".join(cell.ljust(wide) for cell, wide in zip(cut, widths, strict=True)).rstrip()

    lines = [paint(line(header), "bold")]
    for position, row in enumerate(cells):
        colour = colours[position] if position < len(colours) else None
        lines.append(paint(line(row), colour) if colour else line(row))
    return "\n".join(lines)


def bar(used: float, limit: float | None, width: int = 20) -> str:
    """A bar of ``width`` characters for used of limit; empty without a limit."""
    if not limit:
        return ""
    filled = min(width, round(width * used / limit))
    return "[" + "#" * filled + "." * (width - filled) + "]"


def size(value: int | None) -> str:
    """Bytes for a person: 1536 → 1.5K; None → unlimited."""
    if value is None:
        return "unlimited"
    amount = float(value)
    for unit in ("", "K", "M", "G", "T"):
        if amount < 1024 or unit == "T":
            return f"{amount:.0f}{unit}" if amount >= 100 or amount == int(amount) else f"{amount:.1f}{unit}"
        amount /= 1024
    return str(value)


def duration(seconds: float | None) -> str:
    """Seconds for a person: 5400 → 1h 30m; None → never."""
    if seconds is None:
        return "never"
    left = int(seconds)
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= length:
            parts.append(f"{left // length}{unit}")
            left %= length
    return " ".join(parts[:2]) or "0s"


def amount(value: float | None) -> str:
    """A number without needless digits; None → unlimited."""
    return "unlimited" if value is None else f"{value:g}"
