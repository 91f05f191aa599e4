# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 limits``: what you may use, and which rule of the policy says so."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .gate_client import ask
from .screen import amount, duration, size, table

_SIZES = ("memory", "shm", "memory_high", "memory_max", "io_read_bps", "io_write_bps", "disk", "volume", "images", "idle_network_bps")
_NULLS = {"idle_halves_at": "never", "keep_alive": "for ever", "container_hold": "for ever", "created_hold": "for ever"}
_NUMBERS = ("idle_cpu_percent", "idle_gpu_percent", "idle_halves_at")


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("limits", help="what you may use, and which rule set it", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the gate's document")
    parser.set_defaults(run=run)


def _value(section: str, key: str, value: Any) -> str:
    if key in _SIZES:
        return size(value)
    if isinstance(value, str):
        return value
    if value is None and key in _NULLS:
        return _NULLS[key]
    if section == "lifecycle" and key not in _NUMBERS:
        return duration(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "any" if value is None and key == "profiles" else amount(value)


def render(document: dict[str, Any]) -> str:
    """The table that a person sees."""
    sources = document["sources"]
    rows = []
    for section in ("gpu", "container", "aggregate", "lifecycle"):
        for key, value in document[section].items():
            name = f"{section}.{key}"
            rows.append([name, _value(section, key, value), sources.get(name, "")])
    for root in document["bind_roots"]:
        rows.append(["bind root", root["path"], "read and write" if root["writable"] else "read only"])
    return f"{document['user']}, group {document['group']}\n\n" + table(("LIMIT", "VALUE", "SET BY"), rows)


def run(arguments: argparse.Namespace) -> int:
    """Print the caller's limits."""
    document = ask("limits")
    print(json.dumps(document, indent=2) if arguments.json else render(document))
    return 0
