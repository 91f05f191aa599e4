# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Writes docs/inventory.schema.json and docs/events.schema.json from core/workload_schema.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".cache" / "lib"))


def texts() -> dict[str, str]:
    """The files' texts by name."""
    from ds01.core.workload_schema import event_schema, inventory_schema

    found = {"inventory.schema.json": inventory_schema(), "events.schema.json": event_schema()}
    return {name: json.dumps(schema, indent=2) + "\n" for name, schema in found.items()}


if __name__ == "__main__":
    for name, text in texts().items():
        (ROOT / "docs" / name).write_text(text, encoding="utf-8")
