# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 maintenance``: from a time on no container starts. What runs goes on, or is stopped at a time of which people are warned.

Everybody is told when it is announced and when it is over; who tries to start something is told why not.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from ds01.core.event import Event
from ds01.core.maintenance import Maintenance, announced, to_dict
from ds01.core.plain_words import plain
from ds01.core.quota import moment
from ds01.event_log import EventLog
from ds01.json_state import StateError
from ds01.maintenance_file import MAINTENANCE, load, remove, save

from .administrator import need_root, record
from .broadcast_command import tell_everybody
from .failure import Failure
from .moments import ahead

_EXAMPLES = """examples:
  ds01 maintenance on --message "driver update"                        from now on
  ds01 maintenance on --from 2h --until 2026-12-01T20:00Z --message "driver update"
  ds01 maintenance on --from 2h --drain 4h --message "new kernel"       and in four hours what still runs is stopped
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
    parser.add_argument("--drain", metavar="TIME", help="when what still runs is stopped, with a warning before (default: never)")
    parser.add_argument("--message", help="what people are told")
    parser.add_argument("--json", action="store_true", help="with status: print JSON")
    parser.set_defaults(run=run)


Tell = Callable[[str, str, float], tuple[int, int]]


def run(arguments: argparse.Namespace, path: str = MAINTENANCE, log: EventLog | None = None, tell: Tell = tell_everybody) -> int:
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
        log = log or EventLog()
        return _on(arguments, path, log, by, now, tell) if arguments.action == "on" else _off(path, log, by, now, tell)
    except (StateError, OSError) as error:
        raise Failure(str(error), "end it and set it again: ds01 maintenance off") from error


def _on(arguments: argparse.Namespace, path: str, log: EventLog, by: str, now: float, tell: Tell) -> int:
    message = plain(arguments.message or "")
    if not message:
        raise Failure("no --message was given", 'people see it when they are refused, such as --message "driver update"')
    begins = ahead(arguments.begins, "--from", now)
    until = None if arguments.until is None else ahead(arguments.until, "--until", now)
    if until is not None and until <= max(begins, now):
        raise Failure(f"it would end at {moment(until)}, before it begins or in the past", "")
    drain = None if arguments.drain is None else ahead(arguments.drain, "--drain", now)
    if drain is not None and (drain < begins or drain <= now):
        raise Failure(f"it would stop everything at {moment(drain)}, before it begins at {moment(begins)} or in the past", "")
    state = Maintenance(begins, until, message, by, now, drain)
    save(state, path)
    record(log, Event("maintenance.begun", now, by=by, details={"from": begins, "until": until, "drain": drain, "message": message}))
    reached, written = tell(announced(state, now), by, now)
    print(f"{announced(state, now)}\nTold on {reached} terminals and in {written} inboxes.")
    return 0


def _off(path: str, log: EventLog, by: str, now: float, tell: Tell) -> int:
    if not remove(path):
        print("No maintenance.")
        return 0
    record(log, Event("maintenance.ended", now, by=by))
    over = "maintenance is over: containers may start"
    tell(f"The {over}.", by, now)
    print(f"M{over[1:]}.")
    return 0
