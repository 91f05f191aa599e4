# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Writes docs/openapi.json from the table of /ds01/v1 (core/v1_table.py)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".cache" / "lib"))


def text() -> str:
    """The file's text."""
    from ds01.core.v1_table import openapi

    return json.dumps(openapi(), indent=2) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "openapi.json").write_text(text(), encoding="utf-8")
