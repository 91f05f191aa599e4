# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What is wrong with a policy: one ``Problem`` a mistake, with where it is, what stands there and what would be right."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Problem:
    """``key`` is dotted: ``groups.student.limits.gpu.equivalents``, ``exemptions[0].from``. A ``warning`` leaves the policy usable."""

    key: str
    value: str
    message: str
    warning: bool = False

    def text(self, file: str) -> str:
        """One line: file, key, value, what is wrong and what would be right."""
        where = f"{file}: {self.key}" if self.key else file
        shown = f" = {self.value}" if self.value else ""
        return f"{'warning: ' if self.warning else ''}{where}{shown}: {self.message}"


class PolicyError(Exception):
    """A policy that can't be used. ``problems`` holds every mistake (warnings included), ``file`` where it was read."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        mistakes = [p for p in self.problems if not p.warning]
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        lines = [problem.text(file) for problem in mistakes]
        super().__init__(lines[0] if [p.key for p in mistakes] == [""] else "\n".join([f"{file}: the policy has {count}", *lines]))


def shown(value: object) -> str:
    """A value as it is shown in a problem: JSON, shortened."""
    if isinstance(value, date):
        return value.isoformat()
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean idle?``, or nothing where no known word is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
