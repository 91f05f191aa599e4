# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 greeting``: what a person sees at login: quota and use, running containers with the time left, unread notices.

It never delays or breaks a login: every part has a second at most, whatever fails is left out with one line of hint, the exit code is 0,
and where standard output is no terminal it says nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ds01.core.outlook_text import next_step
from ds01.docker_upstream import DaemonRefused, DaemonUnavailable, DockerClient
from ds01.inbox import Entry

from .failure import Failure
from .inbox_command import unread
from .lifecycle_command import read_outlook
from .screen import amount, paint, printable, size

MAINTENANCE = "/etc/ds01/maintenance.json"
_SECONDS = 1.0
_SHOWN = 5
_NEAR = 0.8


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("greeting", help="what you see at login", description=__doc__.split("\n")[0])
    parser.set_defaults(run=run)


def _use(name: str, entry: Mapping[str, Any], form: Any) -> str:
    used, limit = entry["used"], entry["limit"]
    text = f"{name} {'?' if used is None else form(used)} of {form(limit)}"
    return paint(text, "yellow") if used is not None and limit and used / limit >= _NEAR else text


def quota_line(usage: Mapping[str, Any]) -> str:
    """Quota and use in one line."""
    parts = [
        _use("GPU", usage["gpu_equivalents"], amount),
        _use("containers", usage["containers"], amount),
        _use("memory", usage["memory"], size),
    ]
    return "  " + "   ".join(parts)


def container_lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each running container, the next to be stopped first."""
    running = [one for one in entries if one["activity"] is not None]
    running.sort(key=lambda one: one["prospects"][0]["at"] if one["prospects"] else float("inf"))
    lines = [f"  {printable(one['container'])}  {next_step(one)}" for one in running[:_SHOWN]]
    colours = ["yellow" if "(warned)" in line else None for line in lines]
    shown = [paint(line, colour) if colour else line for line, colour in zip(lines, colours, strict=True)]
    return shown + ([f"  and {len(running) - _SHOWN} more: ds01 lifecycle"] if len(running) > _SHOWN else [])


def inbox_lines(entries: Sequence[Entry]) -> list[str]:
    """The last unread messages, cut to a line each."""
    if not entries:
        return []
    count = f"{len(entries)} new message{'s' if len(entries) != 1 else ''}"
    last = [paint(f"  {one.text[:150]}", "red" if one.level == "stop" else "yellow") for one in entries[-2:]]
    return [f"  {count} (ds01 inbox):", *last]


def maintenance_lines(path: str = MAINTENANCE) -> list[str]:
    """What is announced, where something is. Raises OSError, ValueError."""
    if not os.path.exists(path):
        return []
    from ds01.core.maintenance import announced  # here, because mostly there is none
    from ds01.maintenance_file import load

    state = load(path)
    return [] if state is None else [paint(f"  {announced(state, time.time())}", "yellow")]


def compose() -> str:
    """The greeting; parts that can't be had are left out and named in its last line."""
    uid = os.getuid()
    lines: list[str] = []
    missing: list[str] = []
    name = ""
    try:
        # Not gate_client: http.client alone costs a third of what a greeting may.
        gate = os.environ.get("DS01_GATE_SOCKET", "/run/docker.sock")
        usage = DockerClient(gate, _SECONDS).call("GET", "/ds01/v1/usage")
        name = str(usage["user"])
        lines.append(quota_line(usage))
    except (DaemonUnavailable, DaemonRefused, ValueError, KeyError, TypeError):
        missing.append("ds01 usage")
    parts: list[tuple[str, Callable[[], list[str]]]] = [
        ("ds01 lifecycle", lambda: container_lines(read_outlook(uid))),
        ("ds01 inbox", lambda: inbox_lines(unread())),
    ]
    for part, make in parts:
        try:
            lines += make()
        except (Failure, OSError, KeyError, TypeError, ValueError):
            missing.append(part)
    try:
        lines += maintenance_lines()
    except (OSError, ValueError):
        missing.append("ds01 maintenance status")
    if missing:
        lines.append(paint(f"  left out, try later: {', '.join(missing)}", "dim"))
    head = (
        paint(f"Welcome{f', {printable(name)}' if name else ''}.", "bold")
        + " GPUs: ds01 status   your limits: ds01 limits   help: ds01 --help"
    )
    return "\n".join([head, *lines])


def run(arguments: argparse.Namespace) -> int:
    """Greet whoever sits at a terminal."""
    if not sys.stdout.isatty():
        return 0
    try:
        print(compose())
    except Exception as error:  # a login comes before a greeting
        print(f"ds01: no greeting today ({type(error).__name__}); see: ds01 usage")
    return 0
