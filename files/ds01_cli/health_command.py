# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 health``: every part of the platform, whether it works, and what to do where it does not.

Exit codes: 0 all is well, 1 somebody should look (warnings), 2 something does not work.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ds01.core.health import Finding, Level, exit_code, fail

from .health_checks import Check, Checks
from .screen import paint, printable, table

_WAIT_S = 8.0
_COLOURS = {Level.OK: "green", Level.ABSENT: "dim", Level.WARN: "yellow", Level.FAIL: "red"}
_EXAMPLES = """examples:
  ds01 health              every part, as root; else the parts that you can see
  ds01 health --problems   only what is not well
  ds01 health --json       for programs

exit codes: 0 all is well, 1 somebody should look, 2 something does not work
"""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "health",
        help="whether every part of the platform works, and what to do where one does not",
        description=__doc__.split("\n")[0],
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--problems", action="store_true", help="leave out what is well")
    parser.set_defaults(run=run)


def examine(checks: Mapping[str, Check], wait_s: float = _WAIT_S) -> list[Finding]:
    """All findings, in the order of the checks. They run at the same time, and one that has not ended within ``wait_s`` is a finding
    itself: what hangs holds up nobody, and is left behind."""
    answers: dict[str, list[Finding]] = {}

    def look(part: str, check: Check) -> None:
        try:
            answers[part] = check()
        except Exception as error:  # a broken part must not keep the others from being seen
            answers[part] = [fail(part, f"can't be looked at: {str(error) or type(error).__name__}", _where_to_look(part))]

    threads = {part: threading.Thread(target=look, args=(part, check), daemon=True) for part, check in checks.items()}
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + wait_s
    for thread in threads.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    late = {part: [fail(part, f"did not answer within {wait_s:g} s", _where_to_look(part))] for part in checks}
    return [finding for part in checks for finding in {**late, **answers}[part]]


def _where_to_look(part: str) -> str:
    asks_docker = part in ("guard", "claims")
    return "systemctl status docker; journalctl -u docker -n 50" if asks_docker else "systemctl --failed; journalctl -p err -n 50"


def render(findings: Sequence[Finding], problems_only: bool) -> str:
    """The table that a person sees, and below it what to do."""
    shown = [one for one in findings if not problems_only or one.level in (Level.WARN, Level.FAIL)]
    colours = [_COLOURS[one.level] for one in shown]
    parts = [table(("", "PART", "STATE"), [[one.level.value, one.part, one.what] for one in shown], colours)] if shown else []
    steps = [f"  {one.part}: {printable(one.next_step)}" for one in findings if one.next_step]
    if steps:
        parts.append("\n".join([paint("What to do", "bold"), *dict.fromkeys(steps)]))
    counts = {level: sum(1 for one in findings if one.level is level) for level in Level}
    if counts[Level.FAIL] or counts[Level.WARN]:
        parts.append(f"{counts[Level.FAIL]} failed, {counts[Level.WARN]} to look at, {counts[Level.OK]} well")
    else:
        parts.append("All is well.")
    return "\n\n".join(parts)


def run(arguments: argparse.Namespace) -> int:
    """Examine and print."""
    checks = Checks()
    wanted = checks.all()
    root = os.geteuid() == 0
    if not root:
        wanted = {part: check for part, check in wanted.items() if part in checks.everybody}
    findings = examine(wanted)
    code = exit_code(findings)
    if arguments.json:
        entries = [{"part": one.part, "level": one.level.value, "what": one.what, "next": one.next_step} for one in findings]
        print(json.dumps({"time": time.time(), "exit_code": code, "complete": root, "findings": entries}, indent=2, ensure_ascii=False))
    else:
        print(render(findings, arguments.problems))
        if not root:
            print("\nThese are the parts that you can see. The rest is for administrators: sudo ds01 health")
    return code
