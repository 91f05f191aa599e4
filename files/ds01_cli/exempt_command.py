# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 exempt``: let a person or one container off the idle stop or the maximum runtime, for a while and for a reason.

What is given here ends by itself, stands in the event log, and is not undone by a converge. GPU use outside containers: ds01-fence grant.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from ds01.core.event import Event
from ds01.core.exemption_grants import RULES, Granted, split, with_grant
from ds01.core.plain_words import plain
from ds01.core.quota import moment
from ds01.event_log import EventLog
from ds01.exemption_file import ExemptionFile
from ds01.json_state import StateError

from .administrator import need_root, person, record
from .failure import Failure
from .moments import instant, length
from .screen import table

_EXAMPLES = """examples:
  ds01 exempt student1 --from idle,runtime --until 2026-12-01 --reason "thesis deadline"
  ds01 exempt student1/train --from idle --for 8h --reason "slow data set"
  ds01 exempt --list
  ds01 exempt --revoke student1/train
"""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "exempt",
        help="let somebody off idle stop or maximum runtime (administrators)",
        description=__doc__.split("\n\n")[0],
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="USER[/CONTAINER]", nargs="?", help="a person, or one of their containers by name")
    parser.add_argument("--from", dest="rules", metavar="RULES", help=f"from what: {' or '.join(RULES)}, or both with a comma")
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--until", metavar="TIME", help="ISO 8601, UTC without an offset; a date alone is the end of that day")
    end.add_argument("--for", dest="duration", metavar="DURATION", help="such as 8h or 3d")
    parser.add_argument("--reason", help="why, in words; it stands in the event log")
    parser.add_argument("--list", action="store_true", help="those in force that were given by command (the policy has its own)")
    parser.add_argument("--revoke", action="store_true", help="end the one of this person or container")
    parser.add_argument("--json", action="store_true", help="with --list: print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, file: ExemptionFile | None = None, log: EventLog | None = None) -> int:
    """List, revoke or give."""
    file, log, now = file or ExemptionFile(), log or EventLog(), time.time()
    try:
        if arguments.list:
            return _list(file, now, arguments.json)
        by = need_root("ds01 exempt")
        if not arguments.target:
            raise Failure("no USER or USER/CONTAINER was named", "ds01 exempt --help")
        if arguments.revoke:
            return _revoke(file, log, arguments.target, by, now)
        return _give(file, log, arguments, by, now)
    except (StateError, OSError) as error:
        raise Failure(str(error), "") from error


def _list(file: ExemptionFile, now: float, as_json: bool) -> int:
    holding, _ = split(file.read(), now)
    if as_json:
        print(json.dumps([vars(one) | {"rules": list(one.rules)} for one in holding], indent=2))
        return 0
    ends = ["without end" if one.until is None else moment(one.until) for one in holding]
    rows = [(one.target, ", ".join(one.rules), end, one.by, one.reason) for one, end in zip(holding, ends, strict=True)]
    print(table(("WHO", "FROM", "UNTIL", "GIVEN BY", "REASON"), rows) if rows else "No exemption given by command is in force.")
    return 0


def _revoke(file: ExemptionFile, log: EventLog, target: str, by: str, now: float) -> int:
    with file.lock():
        before = file.read()
        found = [one for one in before if one.target == target and one.holds(now)]
        if not found:
            raise Failure(f"{target} has no exemption given by command", "ds01 exempt --list; those of the policy end in the policy")
        file.write(tuple(one for one in before if one.target != target))
    details = {"why": "revoked", "from": list(found[0].rules), "until": found[0].until}
    record(log, Event("grant.ended", now, found[0].user, container=found[0].container, by=by, details=details))
    print(f"{target} is no longer exempt from {' and '.join(found[0].rules)}.")
    return 0


def _give(file: ExemptionFile, log: EventLog, arguments: argparse.Namespace, by: str, now: float) -> int:
    user, slash, container = arguments.target.rpartition("/") if "/" in arguments.target else (arguments.target, "", "")
    if slash and not container:
        raise Failure(f"{arguments.target}: no container stands behind the slash", "expected USER or USER/CONTAINER")
    facts = person(user)
    rules = tuple(dict.fromkeys(word.strip() for word in (arguments.rules or "").split(",") if word.strip()))
    if not rules or not set(rules) <= set(RULES):
        raise Failure(
            f"--from {arguments.rules}: this is not what one can be let off here", f"expected {', '.join(RULES)}, or both with a comma"
        )
    until = _until(arguments, now)
    if until <= now:
        raise Failure(f"it would end at {moment(until)}, which is not after now ({moment(now)})", "")
    reason = plain(arguments.reason or "")
    if not reason:
        raise Failure("no --reason was given", 'say what it is for, such as --reason "thesis deadline"')
    new = Granted(facts.name, container or None, rules, until, reason, by, now)
    with file.lock():
        file.write(with_grant(file.read(), new))
    details = {"from": list(rules), "until": until, "reason": reason}
    record(log, Event("grant.made", now, facts.name, facts.uid, new.container, by=by, details=details))
    print(f"{new.target} is exempt from {' and '.join(rules)} until {moment(until)}.")
    return 0


def _until(arguments: argparse.Namespace, now: float) -> float:
    if arguments.duration is not None:
        return now + length(arguments.duration, "--for")
    if arguments.until is None:
        raise Failure(
            "it has no end: neither --for nor --until was given", "an exemption without end stands in the policy, where it is seen"
        )
    text = arguments.until.strip()
    return instant(f"{text}T00:00" if len(text) == 10 else text, "--until") + (86400.0 if len(text) == 10 else 0.0)
