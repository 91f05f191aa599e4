# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A picture on the terminal that is drawn again and again, until q or Ctrl-C."""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import tty
from collections.abc import Callable

from .failure import Failure

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # the alternate screen without a cursor, and back


def check_interval(seconds: float, option: str) -> None:
    """Raises Failure for what is no sensible pause between two pictures."""
    if not 0.2 <= seconds <= 3600:
        raise Failure(f"{option} {seconds:g}: out of range", "expected 0.2 to 3600 seconds")


def is_possible() -> bool:
    """Whether there is a terminal to draw on and to hear from."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def show(picture: Callable[[int], str], interval: float) -> None:
    """Draw ``picture(lines)`` every ``interval`` seconds. What goes wrong with it is shown in its place."""
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        sys.stdout.write(_ENTER)
        while True:
            try:
                text = picture(shutil.get_terminal_size().lines - 1)
            except Failure as failure:
                text = f"{failure.why}\n{failure.next_step}"
            # Home, each line cleared to its end, then everything below: no flicker.
            sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in text.split("\n")) + "\x1b[J")
            sys.stdout.flush()
            ready, _, _ = select.select([keyboard], [], [], interval)
            if ready and os.read(keyboard, 64)[:1] in (b"q", b"Q", b"\x03", b""):
                return
    except KeyboardInterrupt:
        return
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
