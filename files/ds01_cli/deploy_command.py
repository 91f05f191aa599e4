# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 container deploy``: make and start a container to work in, and say how to get into it."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from .launching import launch, usual_name
from .screen import paint


def register(actions: Any) -> None:
    """Add the action."""
    about = "make and start a container to work in"
    parser = actions.add_parser("deploy", help=about, description=about)
    parser.add_argument("image", metavar="IMAGE", help="an image of yours or a shared one: ds01 image list --shared")
    parser.add_argument("--name", help="what it is called (default: your name and .work)")
    gpu = parser.add_mutually_exclusive_group()
    gpu.add_argument("--gpu", default="all", metavar="REQUEST", help="all (one device), 2, 2g.10gb, memory=20GiB, full (default: all)")
    gpu.add_argument("--no-gpu", action="store_true", help="without a GPU")
    parser.add_argument("--wait", metavar="DURATION", help="wait for a GPU that long, such as 30m, when none is free")
    parser.add_argument(
        "--workspace", metavar="DIRECTORY", default=".", help="what is at /workspace inside (default: the current directory)"
    )
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")
    parser.set_defaults(run=run)


def how_to_enter(name: str) -> str:
    """What to do with a container that runs."""
    rows = (
        (f"ds01 container attach {name}", "a shell in it; leaving it stops nothing"),
        ("ds01 container stats", "what it uses"),
        (f"ds01 container stop {name}", "stop it; its GPU goes to whoever waits"),
        (f"ds01 container remove {name}", "remove it; your directory stays"),
    )
    widest = max(len(command) for command, _ in rows)
    return "\n".join(f"  {command.ljust(widest)}  {meaning}" for command, meaning in rows)


def run(arguments: argparse.Namespace) -> int:
    """Make it."""
    name = arguments.name or usual_name()
    gpu = None if arguments.no_gpu else arguments.gpu
    made = launch(name, arguments.image, os.path.realpath(arguments.workspace), gpu, arguments.wait)
    if arguments.json:
        print(json.dumps(made, indent=2))
    else:
        print(paint(f"{name} runs.", "green") + "\n" + how_to_enter(name))
    return 0
