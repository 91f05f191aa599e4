# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""ds01-lifecycle: warns, stops and removes containers as the policy says. One sweep a call; a systemd timer calls it every minute.

Exit codes: 0 done, 1 it could not sweep or something could not be stopped (the journal and the event log say what), 2 wrong command line.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from ds01_cli import exempt_command
from ds01_cli.failure import Failure
from ds01_cli.screen import table

from ds01.core.outlook_text import HEADER, rows
from ds01.core.policy_problems import PolicyError
from ds01.docker_upstream import DaemonRefused, DaemonUnavailable
from ds01.exemption_file import PolicyWithExemptions
from ds01.json_state import StateError
from ds01.policy_file import Resolver

from . import usage_publish
from .settings import SETTINGS, Places, mail_settings
from .sweep import Sweep

_LOG = logging.getLogger("ds01.lifecycle")
_EXAMPLES = """examples:
  ds01-lifecycle --dry-run                          what would happen to each container, and when
  ds01-lifecycle sweep                              look once and do it
  ds01-lifecycle exempt student1/train --from idle --for 8h --reason "thesis deadline"
  ds01-lifecycle exempt --list
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="ds01-lifecycle",
        description="Warn, stop and remove containers as the policy says.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = Places()
    top.add_argument("--docker", default=defaults.docker, help="dockerd's own socket (%(default)s)")
    top.add_argument("--policy", default=defaults.policy, help="the policy (%(default)s)")
    top.add_argument("--settings", default=SETTINGS, help="how mail is sent (%(default)s)")
    top.add_argument("--dry-run", action="store_true", help="show what would happen now and when; change nothing")
    top.add_argument("--json", action="store_true", help="with --dry-run: print JSON")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    commands.add_parser("sweep", help="look at every container once, and do what is due")
    commands.add_parser("publish-usage", help="tell everybody their GPU-hours of this week and month (ds01 usage)")
    exempt_command.register(commands)
    return top


def main(given: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = parser().parse_args(given)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if options.command is None and not options.dry_run:
        parser().print_help(sys.stderr)
        return 2
    try:
        if options.command == "exempt":
            code: int = options.run(options)
            return code
        if options.command == "publish-usage":
            return usage_publish.run()
        return sweep(options)
    except Failure as failure:
        hint = f"\n{failure.next_step}" if failure.next_step else ""
        print(f"ds01-lifecycle: {failure.why}{hint}", file=sys.stderr)
    except (DaemonUnavailable, DaemonRefused, PolicyError, StateError, OSError) as error:
        _LOG.error("%s: %s", "no sweep" if options.command != "publish-usage" else "no GPU-hours", error)
    return 1


def sweep(options: argparse.Namespace) -> int:
    """Sweep once, or show what a sweep would do."""
    if os.geteuid() != 0:
        raise Failure("this looks at everybody's containers, so it is for root", "your own: ds01 lifecycle")
    places = replace(Places(), docker=options.docker, policy=options.policy)
    one = Sweep(
        places, Resolver(PolicyWithExemptions(places.policy, places.exemptions, on_problem=_LOG.error)), mail_settings(options.settings)
    )
    if options.dry_run:
        entries = one.forecast().entries
        print(json.dumps({"containers": entries}, indent=2) if options.json else table(HEADER, rows(entries)))
        return 0
    lock = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failure("another sweep is at work", "what lies ahead: ds01-lifecycle --dry-run") from None
    return 1 if one.run() else 0


if __name__ == "__main__":
    sys.exit(main())
