# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 queue``: wait for a GPU without asking again and again; what comes free is kept for whoever's turn it is."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from .gate_client import ask
from .screen import duration, paint, table

_EXAMPLES = """examples:
  ds01 queue                         where you stand
  ds01 queue join                    your turn for any device
  ds01 queue join 2g.10gb            for what a container would ask for in the label ds01.gpu
  ds01 queue leave
  docker run --gpus all --label ds01.gpu.wait=30m IMAGE      or let the start itself wait
"""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "queue",
        help="wait for a GPU",
        description=__doc__.split("\n")[0],
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", nargs="?", default="status", choices=("status", "join", "leave"))
    parser.add_argument("request", nargs="?", help="with join: all, 2, 2g.10gb, memory=20GiB, full (default: all)")
    parser.add_argument("--json", action="store_true", help="print the gate's document")
    parser.set_defaults(run=run, parser=parser)


def _state(entry: dict[str, Any], now: float) -> str:
    if entry["offer"] is not None:
        devices = ", ".join(device["profile"] or "full GPU" for device in entry["offer"]["devices"])
        return f"{devices} kept for another {duration(max(0.0, entry['offer']['until'] - now))}"
    if entry["expected_at"] is None:
        return "when is not known"
    return f"within {duration(max(0.0, entry['expected_at'] - now))}"


def render(document: dict[str, Any], now: float) -> str:
    """The table that a person sees."""
    entries = document["entries"]
    waiting = document["waiting"]
    if not entries:
        return f"You do not wait for a GPU ({waiting} do). Wait for one: ds01 queue join"
    rows = [
        [
            entry["position"] or "now",
            entry["user"],
            entry["request"],
            "a start" if entry["container_id"] else "",
            duration(now - entry["joined_at"]),
            _state(entry, now),
        ]
        for entry in entries
    ]
    colours = ["green" if entry["offer"] is not None else None for entry in entries]
    lines = [table(("PLACE", "USER", "REQUEST", "FOR", "WAITED", "EXPECTED"), rows, colours)]
    if any(entry["offer"] is not None and entry["container_id"] is None for entry in entries):
        lines.append(paint("\nIt is your turn: docker run --gpus all IMAGE (with the same label ds01.gpu, if you gave one)", "green"))
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> int:
    """Show, join or leave."""
    if arguments.request is not None and arguments.action != "join":
        arguments.parser.error(f"{arguments.action} takes no request")
    if arguments.action == "join":
        entry = ask("queue", method="POST", body={"request": arguments.request or "all"})
        document = entry if arguments.json else {"waiting": max(1, entry["position"]), "entries": [entry]}
    elif arguments.action == "leave":
        document = ask("queue", method="DELETE")
        if not arguments.json:
            print("You left the queue." if document["left"] else "You did not wait.")
            return 0
    else:
        document = ask("queue")
    print(json.dumps(document, indent=2) if arguments.json else render(document, time.time()))
    return 0
