# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Ids and numbers in text, told exactly and without ``re``.

The runtime guard runs at each start of a container, and importing ``re`` takes as long as Python's own start.
"""

from __future__ import annotations

_HEX = frozenset("0123456789abcdef")


def is_decimal(text: str) -> bool:
    """One or more of the digits 0 to 9, and nothing else: no sign, space, newline, or digit of another script."""
    return text.isascii() and text.isdigit()


def is_docker_id(text: str) -> bool:
    """The full id of a container: 64 hexadecimal digits in lower case."""
    return len(text) == 64 and _HEX.issuperset(text)


def number_between(text: str, before: str, after: str) -> str | None:
    """The digits of a text that is ``before``, a decimal number, ``after``; None for every other text."""
    if not (text.startswith(before) and text.endswith(after)):
        return None
    digits = text[len(before) : len(text) - len(after)]
    return digits if is_decimal(digits) else None
