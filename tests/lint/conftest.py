# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The files that the house rules look at: what git tracks, and what is new and not ignored."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def tracked_files(*patterns: str) -> list[Path]:
    """Paths relative to the root that match one of the glob patterns, all of them without any; sorted."""
    command = ["git", "ls-files", "-zco", "--exclude-standard", "--deduplicate", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    return sorted(Path(name) for name in listed if name and (ROOT / name).is_file())
