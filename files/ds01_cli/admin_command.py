# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 admin COMMAND``: the commands of administrators under one name; ``ds01 exempt`` and ``ds01 admin exempt`` are the same."""

from __future__ import annotations

from typing import Any

from . import broadcast_command, events_command, exempt_command, maintenance_command, top_command, workloads_command


def register(subparsers: Any) -> None:
    """Add the command and those below it."""
    parser = subparsers.add_parser(
        "admin", help="exempt, maintenance, broadcast, top …: for administrators", description=__doc__.split("\n")[0]
    )
    below = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (exempt_command, maintenance_command, broadcast_command, top_command, workloads_command, events_command):
        command.register(below)
