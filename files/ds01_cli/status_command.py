# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 status``: the GPUs of this server and which of them are free."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .gate_client import ask
from .screen import paint, table

_COLOURS = {"free": "green", "busy": None, "held": "yellow", "down": "red"}


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("status", help="GPUs and MIG instances, and which are free", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the gate's document")
    parser.set_defaults(run=run)


def _device(gpu: dict[str, Any], device: dict[str, Any]) -> tuple[list[object], str | None]:
    state = device["state"] if gpu["healthy"] else "down"
    who = f"{device['user']}/{device['container']}" if "container" in device else ("someone else" if state == "busy" else "")
    if device.get("mine"):
        who = f"you: {device['container']}"
    name = device.get("profile") or "full GPU"
    memory, share = f"{device['memory_mib'] / 1024:.0f} GiB", f"{device['equivalents']:.2f}"
    return [gpu["index"], gpu["model"], name, memory, share, state, who], _COLOURS[state]


def render(document: dict[str, Any]) -> str:
    """The table that a person sees."""
    rows: list[list[object]] = []
    colours: list[str | None] = []
    for gpu in document["gpus"]:
        for device in gpu.get("instances", [gpu]):
            row, colour = _device(gpu, device)
            rows.append(row)
            colours.append(colour)
        if gpu["mig"] and not gpu["instances"]:
            rows.append([gpu["index"], gpu["model"], "MIG, no instance", "", "", "down", ""])
            colours.append("red")
    free = sum(1 for row in rows if row[5] == "free")
    lines = [table(("GPU", "MODEL", "DEVICE", "MEMORY", "SHARE", "STATE", "HOLDER"), rows, colours)]
    lines.append(f"\n{free} of {len(rows)} devices are free. A GPU for a container: docker run --gpus all IMAGE")
    if document["simulated"]:
        lines.append(paint("These GPUs are simulated: nothing computes on them.", "yellow"))
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> int:
    """Print the state of the GPUs."""
    document = ask("status")
    print(json.dumps(document, indent=2) if arguments.json else render(document))
    return 0
