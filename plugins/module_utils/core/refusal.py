# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A refusal in three parts: what was refused, why (with the numbers), what to do next (a command)."""

from __future__ import annotations


class Refusal(Exception):
    """Raised where a person's request can't be granted. ``rule`` names the rule that decided; ``status`` is the HTTP status."""

    def __init__(self, what: str, why: str, next_step: str, *, rule: str, status: int = 403) -> None:
        super().__init__(f"{what}: {why}. {next_step}")
        self.what = what
        self.why = why
        self.next_step = next_step
        self.rule = rule
        self.status = status
