# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 usage``: what you use now, against your limits, and your GPU-hours of this week and month (also ``ds01 quota``)."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from ds01 import disk_quota, json_state

from .gate_client import ask
from .screen import amount, bar, duration, paint, size, table

USAGE = Path("/run/ds01/usage")
OLD_S = 7200.0


def register(subparsers: Any) -> None:
    """Add the command and its other name."""
    description = __doc__.split("\n")[0]
    parser = subparsers.add_parser("usage", aliases=["quota"], help="what you use now, against your limits", description=description)
    parser.add_argument("--json", action="store_true", help="print the gate's document")
    parser.set_defaults(run=run)


def _row(name: str, entry: dict[str, Any], form: Any) -> tuple[list[object], str | None]:
    used, limit = entry["used"], entry["limit"]
    full = used is not None and limit and used / limit >= 0.8
    return [name, "?" if used is None else form(used), form(limit), bar(used or 0, limit)], "yellow" if full else None


def render(document: dict[str, Any], now: float) -> str:
    """The table that a person sees."""
    rows = [
        _row("GPU-equivalents", document["gpu_equivalents"], amount),
        _row("containers", document["containers"], amount),
        _row("memory", document["memory"], size),
        _row("processes", document["tasks"], amount),
    ]
    if document.get("disk") is not None:
        rows.append(_row("disk", document["disk"], size))
    text = [table(("", "USED", "LIMIT", ""), [row for row, _ in rows], [colour for _, colour in rows])]
    held = [
        [
            one["container"],
            ", ".join(device["profile"] or "full GPU" for device in one["devices"]),
            duration(now - one["granted_at"]),
            "running" if one["held_until"] is None else f"stopped; the GPU is kept for {duration(max(0.0, one['held_until'] - now))}",
        ]
        for one in document["claims"]
    ]
    if held:
        text.append(table(("CONTAINER", "GPU", "FOR", "STATE"), held))
    return "\n\n".join(text)


def read_hours(uid: int, directory: Path = USAGE) -> dict[str, Any] | None:
    """The person's GPU-hours as they were last published; None where nothing was, or it can't be read."""
    try:
        lab, own = json_state.read(str(directory / "lab.json")), json_state.read(str(directory / f"{uid}.json"))
        if lab is None:
            return None
        mine = {} if own is None else own["spans"]
        spans = {name: {**one, **mine.get(name, {"hours": 0.0, "efficiency": None})} for name, one in lab["spans"].items()}
        return {"time": float(lab["time"]), "source": str(lab["source"]), "spans": spans}
    except (json_state.StateError, OSError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{100 * value:.0f} %"


def render_hours(found: dict[str, Any], now: float) -> str:
    """The table of GPU-hours."""
    week, month = found["spans"]["week"], found["spans"]["month"]
    rows = [
        ["held", f"{week['hours']:.1f} h", f"{month['hours']:.1f} h"],
        ["of which the GPU computed", _share(week["efficiency"]), _share(month["efficiency"])],
        ["median of the lab", _share(week["median"]), _share(month["median"])],
    ]
    if found["source"] != "prometheus":
        rows = rows[:1]
    text = table(("GPU-HOURS", "THIS WEEK", "THIS MONTH"), rows)
    age = now - found["time"]
    return text + (f"\n{paint(f'These are {duration(age)} old: systemctl status ds01-usage.timer', 'red')}" if age > OLD_S else "")


def read_disk(uid: int) -> dict[str, Any] | None:
    """What the kernel counts of the person's disk space, where they are closest to their limit; None where nothing counts it."""
    found = disk_quota.usage(uid)
    return None if found is None else {"used": found.used_bytes, "limit": found.limit_bytes, "directory": found.directory}


def run(arguments: argparse.Namespace, directory: Path = USAGE) -> int:
    """Print the caller's use."""
    hours, now = read_hours(os.getuid(), directory), time.time()
    document = {**ask("usage"), "disk": read_disk(os.getuid())}
    if arguments.json:
        print(json.dumps({**document, "gpu_hours": hours}, indent=2))
        return 0
    print(render(document, now))
    if hours is not None:
        print(f"\n{render_hours(hours, now)}")
    return 0
