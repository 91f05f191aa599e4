# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 lifecycle``: what happens to your containers, and when; for administrators with sudo everybody's."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from ds01 import json_state
from ds01.core.outlook_text import HEADER, rows
from ds01.core.plain_words import span

from .failure import Failure
from .screen import paint, table

OUTLOOK = Path("/run/ds01/outlook")
OLD_S = 300.0
PROGRAM = "/opt/ds01/current/bin/ds01-lifecycle"


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("lifecycle", help="what is stopped when", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--dry-run", action="store_true", help="with sudo: look up everybody's this moment, and change nothing")
    parser.set_defaults(run=run)


def read_outlook(uid: int, directory: Path = OUTLOOK) -> list[dict[str, Any]]:
    """What the last sweep foresaw for one person's containers, or for root everybody's; empty where they have none. Raises Failure."""
    path = directory / ("all.json" if uid == 0 else f"{uid}.json")
    try:
        document = json_state.read(str(path))
        return [] if document is None else list(document["containers"])
    except (json_state.StateError, OSError, KeyError, TypeError) as error:
        raise Failure(f"{path}: {error}", "an administrator sees why with: systemctl status ds01-lifecycle.timer") from None


def render(entries: list[dict[str, Any]], now: float) -> str:
    """The table that a person sees."""
    if not entries:
        return "No containers."
    lines = rows(entries)
    colours = ["yellow" if "(warned)" in line[-1] or line[-1] == "being stopped" else None for line in lines]
    text = table(HEADER, lines, colours)
    age = now - max(float(one["time"]) for one in entries)
    return text + (f"\n\n{paint(f'This is {span(age)} old: the sweeps do not run.', 'red')}" if age > OLD_S else "")


def run(arguments: argparse.Namespace, directory: Path = OUTLOOK) -> int:
    """Print what lies ahead."""
    if arguments.dry_run and os.getuid() == 0:
        try:
            os.execv(PROGRAM, [PROGRAM, "--dry-run", *(["--json"] if arguments.json else [])])
        except OSError as error:
            raise Failure(f"{PROGRAM}: {error.strerror}", "what the last sweep foresaw: ds01 lifecycle") from None
    entries = read_outlook(os.getuid(), directory)
    print(json.dumps({"containers": entries}, indent=2) if arguments.json else render(entries, time.time()))
    return 0
