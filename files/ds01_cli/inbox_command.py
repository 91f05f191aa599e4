# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 inbox``: what the platform has told you: warnings, what was stopped and why, quotas that are nearly used up."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ds01.core.plain_words import clock
from ds01.inbox import INBOX, Entry, read

from .failure import Failure
from .screen import paint

_COLOURS = {"warning": "yellow", "stop": "red"}
_SHOWN = 20


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("inbox", help="what the platform has told you", description=__doc__.split("\n")[0])
    parser.add_argument("--all", action="store_true", help=f"all that is kept, not the last {_SHOWN}")
    parser.add_argument("--new", action="store_true", help="only what you have not read")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def _mark() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(state) / "ds01-inbox-read"


def read_until() -> float:
    """Up to when (seconds since the epoch) the caller has read; 0 where nothing says so."""
    try:
        return float(_mark().read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return 0.0


def mark_read(at: float) -> None:
    """Note that everything up to ``at`` is read; a home that can't be written to costs only the note."""
    with contextlib.suppress(OSError):
        _mark().parent.mkdir(parents=True, exist_ok=True)
        _mark().write_text(f"{at:.3f}\n", encoding="ascii")


def unread(directory: Path = INBOX) -> tuple[Entry, ...]:
    """The caller's messages that they have not read. Raises OSError."""
    since = read_until()
    return tuple(one for one in read(os.getuid(), directory) if one.at > since)


def render(entries: Sequence[Entry], since: float, now: float) -> str:
    """The messages for a person, oldest first; unread ones with a star."""
    if not entries:
        return "Nothing."
    lines = []
    for one in entries:
        star = "*" if one.at > since else " "
        lines.append(paint(f"{star} {clock(one.at, now):>20}  {one.text}", _COLOURS.get(one.level, "bold" if star == "*" else "dim")))
    return "\n".join(lines)


def run(arguments: argparse.Namespace, directory: Path = INBOX) -> int:
    """Print the caller's messages, and note that they are read."""
    since = read_until()
    try:
        entries = read(os.getuid(), directory)
    except OSError as error:
        raise Failure(f"your inbox can't be read: {error.strerror}", "tell an administrator: ds01-lifecycle.service writes it") from None
    if arguments.new:
        entries = tuple(one for one in entries if one.at > since)
    shown = entries if arguments.all else entries[-_SHOWN:]
    print(json.dumps([vars(one) for one in shown], indent=2) if arguments.json else render(shown, since, time.time()))
    if entries:
        mark_read(max(one.at for one in entries))
    return 0
