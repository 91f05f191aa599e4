# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 claims``: which containers hold which GPUs; your own, for admins everybody's."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from .gate_client import ask
from .screen import duration, table


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("claims", help="containers that hold GPUs", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the gate's document")
    parser.set_defaults(run=run)


def render(document: dict[str, Any], now: float) -> str:
    """The table that a person sees."""
    if not document["claims"]:
        return "No container holds a GPU. Start one: docker run --gpus all IMAGE"
    rows = [
        [
            one["id"],
            one["user"],
            one["container"],
            ", ".join(device["profile"] or "full GPU" for device in one["devices"]),
            f"{one['equivalents']:.2f}",
            duration(now - one["granted_at"]),
            _standing(one, now),
        ]
        for one in document["claims"]
    ]
    return table(("CLAIM", "USER", "CONTAINER", "DEVICES", "SHARE", "SINCE", ""), rows)


def _standing(one: dict[str, Any], now: float) -> str:
    """What is said of a claim whose container does not run."""
    if one.get("ending_since") is not None:
        return f"ended {duration(max(0.0, now - one['ending_since']))} ago, a process of it still has the GPU"
    return "" if one["held_until"] is None else f"held for {duration(max(0.0, one['held_until'] - now))}"


def run(arguments: argparse.Namespace) -> int:
    """Print the claims."""
    document = ask("claims")
    print(json.dumps(document, indent=2) if arguments.json else render(document, time.time()))
    return 0
