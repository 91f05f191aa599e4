# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What of a process says that it is the one that was meant."""

from __future__ import annotations

from pathlib import Path

from .state_text import StateError


def start_ticks(pid: int) -> int:
    """When a process started: field 22 of /proc/<pid>/stat, in clock ticks since boot. Raises StateError where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        raise StateError(f"process {pid} does not exist") from None
    return int(text.rpartition(")")[2].split()[19])
