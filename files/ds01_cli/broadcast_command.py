# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 broadcast TEXT``: tell everybody: on every terminal that is open, and in every inbox."""

from __future__ import annotations

import argparse
import json
import pwd
import sys
import time
from pathlib import Path
from typing import Any

from ds01 import inbox, terminals
from ds01.core.event import Event
from ds01.core.notices import announcement, banner
from ds01.core.plain_words import plain
from ds01.event_log import EventLog

from .administrator import need_root, record
from .failure import Failure
from .screen import paint

_PEOPLE = range(1000, 60000)  # local accounts; people of a directory service are met by their terminals and inboxes


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("broadcast", help="tell everybody something (administrators)", description=__doc__.split("\n")[0])
    parser.add_argument("text", nargs="+", metavar="TEXT", help="what to say")
    parser.add_argument("--json", action="store_true", help="print whom it reached as JSON")
    parser.set_defaults(run=run)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def run(arguments: argparse.Namespace, log: EventLog | None = None, directory: Path = inbox.INBOX, pts: str = terminals.PTS) -> int:
    """Write to all terminals and inboxes; says how many it reached."""
    by = need_root("ds01 broadcast TEXT")
    text, now = plain(" ".join(arguments.text)), time.time()
    if not text:
        raise Failure("the text is empty", 'ds01 broadcast "The server goes down at 18:00."')
    reached, written = tell_everybody(text, by, now, directory, pts)
    record(log or EventLog(), Event("broadcast.sent", now, by=by, details={"text": text, "terminals": reached, "inboxes": written}))
    document = {"terminals": reached, "inboxes": written}
    print(json.dumps(document) if arguments.json else f"Written to {reached} terminals and {written} inboxes.")
    return 0


def tell_everybody(text: str, by: str, now: float, directory: Path = inbox.INBOX, pts: str = terminals.PTS) -> tuple[int, int]:
    """Write to all terminals and inboxes; how many of each it reached."""
    open_now = terminals.terminals(pts)
    known = {entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid in _PEOPLE}
    known |= {int(path.stem) for path in directory.glob("*.jsonl") if path.stem.isdigit()} | (open_now.keys() - {0})
    written = reached = 0
    for uid in sorted(known):
        notice = announcement(uid, _name(uid), text, by, now)
        try:
            inbox.add(notice, directory)
            written += 1
        except OSError as error:
            print(f"{paint('ds01:', 'yellow')} inbox of {notice.user}: {error}", file=sys.stderr)
    for uid, paths in open_now.items():
        reached += terminals.write(paths, uid, banner(announcement(uid, "", text, by, now)))
    return reached, written
