# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 top``: GPUs, people, workloads and the queue, live; ends with q or Ctrl-C (administrators)."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from ds01.gpu_use import INVENTORY
from ds01.queue_file import QUEUE

from . import live_screen
from .inventory_source import read_inventory
from .queue_source import read_queue
from .top_screen import render


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "top", help="GPUs, people, workloads and the queue, live (administrators)", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--once", action="store_true", help="print the picture once")
    parser.add_argument("--json", action="store_true", help="print the watcher's document once")
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="between two pictures (%(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, path: str = INVENTORY, queue: str = QUEUE) -> int:
    """Show the picture once, or again and again."""
    if arguments.json:
        print(json.dumps(read_inventory(path), indent=2))
        return 0
    if arguments.once or not live_screen.is_possible():
        print(render(read_inventory(path), time.time(), queue=read_queue(queue)))
        return 0
    live_screen.check_interval(arguments.interval, "--interval")
    read_inventory(path)  # what is wrong from the start is said on the ordinary screen
    live_screen.show(lambda lines: render(read_inventory(path), time.time(), lines, read_queue(queue)), arguments.interval)
    return 0
