# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 workloads``: what of yours uses or may use a GPU; for administrators everything, and whose it is."""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ds01.gpu_use import INVENTORY

from . import live_screen
from .failure import Failure
from .inventory_source import read_inventory, warnings
from .screen import duration, paint, size, table

Workload = Mapping[str, Any]


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("workloads", help="what uses or may use a GPU", description=__doc__.split("\n")[0])
    parser.add_argument("--by-user", action="store_true", help="one line a person")
    parser.add_argument("--wide", action="store_true", help="with image, container id, and how the person was found")
    parser.add_argument("--json", action="store_true", help="print the watcher's document")
    parser.add_argument(
        "--watch",
        nargs="?",
        type=float,
        const=2.0,
        metavar="SECONDS",
        help="draw it again every so many seconds (2), until q or Ctrl-C",
    )
    parser.set_defaults(run=run)


def gpus_of(one: Workload) -> str:
    """The GPUs of a workload, short: ``0, 1 (3g.20gb)``."""
    names = [f"{'?' if gpu['index'] is None else gpu['index']}" + (f" ({gpu['profile']})" if gpu["profile"] else "") for gpu in one["gpus"]]
    return "all" if one["every_gpu"] else ", ".join(names)


def user_of(one: Workload) -> str:
    """The person, or that nobody is known."""
    return str(one["user"] or "unattributed")


def memory_of(own: Sequence[Workload]) -> str:
    """What workloads hold on GPUs together; ``?`` where it is known of none of them, with a ``+`` where of some only."""
    known = [one["gpu_memory"] for one in own if one["gpu_memory"] is not None]
    return "?" if not known else size(sum(known)) + ("+" if len(known) < len(own) else "")


def _memory(one: Workload) -> str:
    return "" if one["gpu_memory"] is None else size(one["gpu_memory"])


def _rows(found: Sequence[Workload], wide: bool, now: float) -> tuple[list[list[object]], list[str | None]]:
    rows: list[list[object]] = []
    colours: list[str | None] = []
    for one in sorted(found, key=lambda w: (user_of(w), w["name"])):
        state = "running" if one["running"] else "stopped"
        since = "" if not one["since"] else duration(now - one["since"])
        row = [
            user_of(one),
            one["name"] if wide else one["name"][:28],
            one["kind"],
            gpus_of(one),
            _memory(one),
            len(one["processes"]),
            state,
            since,
        ]
        if wide:
            row += [one["image"], (one["container_id"] or "")[:12], one["attributed_by"]]
        rows.append(row)
        colours.append(None if one["tracked"] else "yellow")
    return rows, colours


def _people(found: Sequence[Workload]) -> list[list[object]]:
    people: dict[str, list[Workload]] = {}
    for one in found:
        people.setdefault(user_of(one), []).append(one)
    rows: list[list[object]] = []
    for user, own in sorted(people.items()):
        gpus = {(gpu["uuid"], gpu["profile"]) for one in own for gpu in one["gpus"]}
        outside = sum(not one["tracked"] for one in own)
        rows.append([user, len(own), len(gpus), memory_of(own), sum(len(one["processes"]) for one in own), outside or ""])
    return rows


def render(document: dict[str, Any], now: float, *, wide: bool = False, by_user: bool = False) -> str:
    """The table that a person sees."""
    found = document["workloads"]
    lines = [paint(text, "red") for text in warnings(document, now)]
    if not found:
        lines.append("No workload uses or may use a GPU.")
    elif by_user:
        lines.append(table(("USER", "WORKLOADS", "DEVICES", "GPU MEMORY", "PROCESSES", "OUTSIDE THE PLATFORM"), _people(found)))
    else:
        header = ["USER", "NAME", "KIND", "GPU", "MEMORY", "PROCS", "STATE", "SINCE"] + (["IMAGE", "ID", "FOUND BY"] if wide else [])
        lines.append(table(header, *_rows(found, wide, now)))
    return "\n".join(lines)


def _picture(path: str, lines: int, *, wide: bool, by_user: bool) -> str:
    """What fits on a screen of so many lines."""
    text = render(read_inventory(path), time.time(), wide=wide, by_user=by_user).split("\n")
    if len(text) > lines:
        text = [*text[: lines - 1], f"and {len(text) - lines + 1} more lines"]
    return "\n".join(text)


def run(arguments: argparse.Namespace, path: str = INVENTORY) -> int:
    """Print the workloads."""
    if arguments.watch is not None:
        live_screen.check_interval(arguments.watch, "--watch")
        if arguments.json:
            raise Failure("--watch and --json don't go together", "for programs: ds01 workloads --json, as often as you like")
    document = read_inventory(path)
    if arguments.watch is not None and live_screen.is_possible():
        draw = functools.partial(_picture, path, wide=arguments.wide, by_user=arguments.by_user)
        live_screen.show(draw, arguments.watch)
    elif arguments.json:
        print(json.dumps(document, indent=2))
    else:
        print(render(document, time.time(), wide=arguments.wide, by_user=arguments.by_user))
    return 0
