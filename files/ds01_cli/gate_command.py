# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 gate explain``: which rule of the gate decides on a request, or decided on one of its log. Nothing is changed.

Exit codes: 0 it would be let through, 1 it would be refused, 2 it can't be judged.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from .administrator import need_root
from .failure import Failure

PROGRAM = "/opt/ds01/current/bin/ds01-gate"
_EXAMPLES = """examples:
  ds01 gate explain --user alice POST /v1.45/containers/create --body create.json
  ds01 gate explain --user alice POST /v1.45/containers/train/start
  journalctl -u ds01-gate -o cat -g refused -n 1 | ds01 gate explain --line -
"""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "gate", help="explain what the gate decides (administrators)", description="What the gate decides on a request, and why."
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    explaining = actions.add_parser(
        "explain",
        help="which rule decides on a request",
        description=__doc__.split("\n\n")[0],
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    explaining.add_argument("method", nargs="?", help="such as POST")
    explaining.add_argument("target", nargs="?", help="path and query, such as /v1.45/containers/create?name=x")
    explaining.add_argument("--user", help="for whom (with --line: whom the line names, unless said otherwise)")
    explaining.add_argument("--body", metavar="FILE", help="the JSON body")
    explaining.add_argument("--line", help="a line of the gate's log, or - for standard input")
    explaining.add_argument("--json", action="store_true", help="print JSON")
    explaining.set_defaults(run=run)


def run(
    arguments: argparse.Namespace,
    execute: Callable[[str, list[str]], object] = os.execv,
    program: str = PROGRAM,
) -> int:
    """Become the gate's own ``explain``."""
    need_root("ds01 gate explain")
    given = [arguments.method, arguments.target]
    options = {"--user": arguments.user, "--body": arguments.body, "--line": arguments.line}
    flags = [f"{name}={value}" for name, value in options.items() if value is not None] + (["--json"] if arguments.json else [])
    command = ["ds01-gate", "explain", *flags, "--", *(word for word in given if word is not None)]
    try:
        execute(program, command)
    except OSError as error:
        raise Failure(f"{program}: {error.strerror}", "the gate is installed by the roles runtime and gate") from error
    return 0
