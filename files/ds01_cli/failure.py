# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a command could not do, said to the person who typed it."""

from __future__ import annotations


class Failure(Exception):
    """``why`` in a sentence without a full stop, ``next_step`` what to do about it (may be empty). Exit code 1."""

    def __init__(self, why: str, next_step: str) -> None:
        super().__init__(why)
        self.why = why
        self.next_step = next_step
