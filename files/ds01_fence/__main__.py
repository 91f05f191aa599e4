# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The command ``ds01-fence``, for root: who may use GPUs outside containers.

Exit codes: 0 done, 1 could not be done (the message says why), 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timezone

from ds01.bare_metal_grants import read, remove, write
from ds01.core.bare_metal import Grant
from ds01.core.durations import parse_duration
from ds01.core.quota import moment
from ds01.core.unit_plan import UnitError
from ds01.fence_units import FenceUnits
from ds01.file_set import FileSetError
from ds01.policy_file import facts_by_name

from .fence import Fence, Outcome
from .settings import SettingsError, load

_EXAMPLES = """examples:
  ds01-fence grant alice --for 4h --reason "profiling with Nsight"
  ds01-fence grant alice --until 2026-12-01T18:00+01:00 --reason "course preparation"
  ds01-fence revoke alice
  ds01-fence list --json
"""


class CommandError(Exception):
    """What was asked for can't be done; the message is for the person who asked."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="ds01-fence",
        description="GPU access outside containers: who has it, and until when.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    commands.add_parser("apply", help="make the host follow policy and grants; what timers and boot do")
    grant = commands.add_parser("grant", help="let a person use GPUs outside containers")
    grant.add_argument("user", metavar="USER")
    ends = grant.add_mutually_exclusive_group(required=True)
    ends.add_argument("--for", dest="duration", metavar="DURATION", help="such as 30m, 4h or 7d")
    ends.add_argument("--until", metavar="TIME", help="ISO 8601, such as 2026-12-01T18:00+01:00; without a zone UTC")
    ends.add_argument("--forever", action="store_true", help="until it is revoked")
    grant.add_argument("--reason", required=True, metavar="TEXT")
    revoke = commands.add_parser("revoke", help="end a grant now")
    revoke.add_argument("user", metavar="USER")
    listing = commands.add_parser("list", help="who may, until when, and why")
    listing.add_argument("--json", action="store_true")
    return top


def main(arguments: Sequence[str] | None = None, fence: Fence | None = None) -> int:
    """Run one command; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        if fence is None:
            if os.geteuid() != 0:
                raise CommandError("this is for root: sudo ds01-fence " + " ".join(arguments or sys.argv[1:]))
            fence = Fence(load(), FenceUnits())
        if options.command == "grant":
            _grant(fence, options)
        elif options.command == "revoke":
            uid = _uid(fence, options.user)
            with fence.locked():
                if not remove(uid, fence.grants):
                    raise CommandError(f"{options.user} has no grant; exemptions of the policy end in the policy. See: ds01-fence list")
        outcome = fence.look() if options.command == "list" else fence.apply()
        _say(outcome, as_json=options.command == "list" and options.json)
        for problem in outcome.problems:
            print(f"ds01-fence: {problem}", file=sys.stderr)
        return 0
    except (CommandError, SettingsError, UnitError, FileSetError, LookupError, OSError) as error:
        print(f"ds01-fence: {error.args[0] if isinstance(error, LookupError) else error}", file=sys.stderr)
        return 1


def _grant(fence: Fence, options: argparse.Namespace) -> None:
    now = fence.clock()
    until: float | None = None
    if options.duration is not None:
        try:
            until = now + parse_duration(options.duration)
        except ValueError as error:
            raise CommandError(f"--for {options.duration}: expected {error}") from error
    elif options.until is not None:
        until = _moment(options.until)
    if until is not None and until <= now:
        raise CommandError(f"the grant would end at {moment(until)}, which is not after now ({moment(now)})")
    reason = " ".join(options.reason.split())
    if not reason:
        raise CommandError("--reason is empty; say what the access is for")
    facts = facts_by_name(options.user)
    if facts.uid == 0:
        raise CommandError("root is never fenced")
    by = os.environ.get("SUDO_USER") or "root"
    with fence.locked():
        write(Grant(facts.uid, facts.name, until, reason, by, now), fence.grants)


def _uid(fence: Fence, user: str) -> int:
    """The uid of a person; also of one who has a grant and no account any more."""
    try:
        return facts_by_name(user).uid
    except LookupError:
        for grant in read(fence.grants).grants:
            if user in (grant.user, str(grant.uid)):
                return grant.uid
        raise


def _moment(text: str) -> float:
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise CommandError(f"--until {text}: expected ISO 8601, such as 2026-12-01T18:00+01:00") from error
    return (at if at.tzinfo is not None else at.replace(tzinfo=timezone.utc)).timestamp()


def _say(outcome: Outcome, *, as_json: bool) -> None:
    people = [outcome.exempt[uid] for uid in sorted(outcome.exempt)]
    if as_json:
        print(json.dumps([{"user": p.user, "uid": p.uid, "until": p.until, "why": list(p.why)} for p in people], indent=2))
        return
    width = max((len(p.user) for p in people), default=0)
    for person in people:
        until = "without end" if person.until is None else f"until {moment(person.until)}"
        print(f"{person.user:{width}}  {until:26}  {'; '.join(person.why)}")
    if not people:
        print("Nobody but root may use GPUs outside containers.")


if __name__ == "__main__":
    sys.exit(main())
