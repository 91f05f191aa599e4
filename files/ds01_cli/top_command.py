# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 top``: GPUs, people, workloads and the queue, live; ends with q or Ctrl-C (administrators)."""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import sys
import termios
import time
import tty
from typing import Any

from ds01.gpu_use import INVENTORY
from ds01.queue_file import QUEUE

from .failure import Failure
from .inventory_source import read_inventory
from .queue_source import read_queue
from .top_screen import render

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # the alternate screen without a cursor, and back


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
    if arguments.once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(render(read_inventory(path), time.time(), queue=read_queue(queue)))
        return 0
    if not 0.2 <= arguments.interval <= 3600:
        raise Failure(f"--interval {arguments.interval:g}: out of range", "expected 0.2 to 3600 seconds")
    read_inventory(path)  # what is wrong from the start is said on the ordinary screen
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        sys.stdout.write(_ENTER)
        _live(arguments.interval, path, queue, keyboard)
    except KeyboardInterrupt:
        return 0
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
    return 0


def _live(interval: float, path: str, queue: str, keyboard: int) -> None:
    while True:
        try:
            text = render(read_inventory(path), time.time(), shutil.get_terminal_size().lines - 1, read_queue(queue))
        except Failure as failure:
            text = f"{failure.why}\n{failure.next_step}"
        # Home, each line cleared to its end, then everything below: no flicker.
        sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in text.split("\n")) + "\x1b[J")
        sys.stdout.flush()
        ready, _, _ = select.select([keyboard], [], [], interval)
        if ready and os.read(keyboard, 64)[:1] in (b"q", b"Q", b"\x03", b""):
            return
