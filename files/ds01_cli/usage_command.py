# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 usage``: what you use now, against your limits (also ``ds01 quota``)."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from .gate_client import ask
from .screen import amount, bar, duration, size, table


def register(subparsers: Any) -> None:
    """Add the command and its other name."""
    description = __doc__.split("\n")[0]
    parser = subparsers.add_parser("usage", aliases=["quota"], help="what you use now, against your limits", description=description)
    parser.add_argument("--json", action="store_true", help="print the gate's document")
    parser.set_defaults(run=run)


def _row(name: str, entry: dict[str, Any], form: Any) -> tuple[list[object], str | None]:
    used, limit = entry["used"], entry["limit"]
    full = used is not None and limit and used / limit >= 0.8
    return [name, "?" if used is None else form(used), form(limit), bar(used or 0, limit)], "yellow" if full else None


def render(document: dict[str, Any], now: float) -> str:
    """The table that a person sees."""
    rows = [
        _row("GPU-equivalents", document["gpu_equivalents"], amount),
        _row("containers", document["containers"], amount),
        _row("memory", document["memory"], size),
        _row("processes", document["tasks"], amount),
    ]
    text = [table(("", "USED", "LIMIT", ""), [row for row, _ in rows], [colour for _, colour in rows])]
    held = [
        [
            one["container"],
            ", ".join(device["profile"] or "full GPU" for device in one["devices"]),
            duration(now - one["granted_at"]),
            "running" if one["held_until"] is None else f"stopped; the GPU is kept for {duration(max(0.0, one['held_until'] - now))}",
        ]
        for one in document["claims"]
    ]
    if held:
        text.append(table(("CONTAINER", "GPU", "FOR", "STATE"), held))
    return "\n\n".join(text)


def run(arguments: argparse.Namespace) -> int:
    """Print the caller's use."""
    document = ask("usage")
    print(json.dumps(document, indent=2) if arguments.json else render(document, time.time()))
    return 0
