# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 maintenance``: from a time on no container starts; what runs goes on. People who try are told why."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from ds01.core.event import Event
from ds01.core.maintenance import Maintenance, announced, to_dict
from ds01.core.plain_words import plain
from ds01.core.quota import moment
from ds01.event_log import EventLog
from ds01.json_state import StateError
from ds01.maintenance_file import MAINTENANCE, load, remove, save

from .administrator import need_root, record
from .failure import Failure
from .moments import ahead

_EXAMPLES = """examples:
  ds01 maintenance on --message "driver update"                        from now on
  ds01 maintenance on --from 2h --until 2026-12-01T20:00Z --message "driver update"
  ds01 maintenance status
  ds01 maintenance off
"""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "maintenance",
        help="no new containers from a time on (administrators)",
        description=__doc__.split("\n")[0],
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("on", "off", "status"))
    parser.add_argument("--from", dest="begins", default="now", metavar="TIME", help="ISO 8601, or 2h for in two hours (default: now)")
    parser.add_argument("--until", metavar="TIME", help="when it is expected to end; it ends with `off` only")
    parser.add_argument("--message", help="what people are told")
    parser.add_argument("--json", action="store_true", help="with status: print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, path: str = MAINTENANCE, log: EventLog | None = None) -> int:
    """Show, set or end it."""
    now = time.time()
    try:
        if arguments.action == "status":
            state = load(path)
            if arguments.json:
                print(json.dumps(None if state is None else to_dict(state), indent=2))
            else:
                print("No maintenance." if state is None else announced(state, now))
            return 0
        by = need_root(f"ds01 maintenance {arguments.action}")
        return _on(arguments, path, log or EventLog(), by, now) if arguments.action == "on" else _off(path, log or EventLog(), by, now)
    except (StateError, OSError) as error:
        raise Failure(str(error), "end it and set it again: ds01 maintenance off") from error


def _on(arguments: argparse.Namespace, path: str, log: EventLog, by: str, now: float) -> int:
    message = plain(arguments.message or "")
    if not message:
        raise Failure("no --message was given", 'people see it when they are refused, such as --message "driver update"')
    begins = ahead(arguments.begins, "--from", now)
    until = None if arguments.until is None else ahead(arguments.until, "--until", now)
    if until is not None and until <= max(begins, now):
        raise Failure(f"it would end at {moment(until)}, before it begins or in the past", "")
    state = Maintenance(begins, until, message, by, now)
    save(state, path)
    record(log, Event("maintenance.begun", now, by=by, details={"from": begins, "until": until, "message": message}))
    print(announced(state, now))
    return 0


def _off(path: str, log: EventLog, by: str, now: float) -> int:
    if not remove(path):
        print("No maintenance.")
        return 0
    record(log, Event("maintenance.ended", now, by=by))
    print("Maintenance is over: containers may start.")
    return 0
