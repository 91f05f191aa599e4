# SPDX-License-Identifier: MIT
"""The one error type of the lab: a sentence for the person at the terminal."""

from __future__ import annotations


class LabError(Exception):
    """Says what went wrong, where, and what would help."""
