# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 logins``: who logged in from where, used sudo, and started what; who was turned away.

From the journal, and from the audit log for started programs. A summary of each day comes by itself: see ``logins_mail_to``.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from ds01.core.login_summary import document, in_words
from ds01.login_history import history

from .administrator import need_root
from .failure import Failure
from .moments import ago

_EXAMPLES = """examples:
  sudo ds01 logins                              the last day
  sudo ds01 logins --since 7d --user student1   one person's week
  sudo ds01 logins --since 2026-12-01 --until 2026-12-02 --json
"""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "logins",
        help="who logged in, and who started what (administrators)",
        description=__doc__.split("\n\n")[0],
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--since", metavar="TIME", default="1d", help="2h, 3d, or ISO 8601; without it one day")
    parser.add_argument("--until", metavar="TIME", help="2h, 3d, or ISO 8601; without it now")
    parser.add_argument("--user", help="of this person")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    need_root("ds01 logins")
    now = time.time()
    since = ago(arguments.since, "--since", now)
    until = ago(arguments.until, "--until", now) if arguments.until else now
    if since >= until:
        raise Failure(f"--since {arguments.since} is not before {arguments.until or 'now'}", "ds01 logins --since 7d")
    summary = history(since, until, only=arguments.user)
    print(json.dumps(document(summary), indent=2) if arguments.json else in_words(summary), end="\n" if arguments.json else "")
    return 0
