# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A pseudo-terminal with a person at it: types lines and control characters, draws the window wider, reads until a text comes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from tests.integration.daemons import die_with_parent

Size = tuple[int, int]
"""Rows and columns."""


class Terminal:
    """A program at a terminal that controls it, read until a text comes."""

    def __init__(self, command: list[str], environment: dict[str, str], directory: Path, size: Size = (24, 80)) -> None:
        self._master, slave = pty.openpty()
        self.resize(size)
        self.said = ""
        self._seen = 0
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            cwd=directory,
            preexec_fn=self._prepare,
            start_new_session=True,
        )
        os.close(slave)

    @staticmethod
    def _prepare() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        die_with_parent()

    def expect(self, text: str, seconds: float = 30) -> str:
        """Read until ``text`` comes after what was expected before; what came up to its end."""
        deadline = time.monotonic() + seconds
        while (at := self.said.find(text, self._seen)) < 0:
            if not self._read(deadline):
                raise AssertionError(f"{text!r} did not come; the terminal has:\n{self.said[self._seen :]}")
        came = self.said[self._seen : at + len(text)]
        self._seen = at + len(text)
        return came

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self.said += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._master, f"{text}\n".encode())

    def control(self, letter: str) -> None:
        """Type a control character."""
        os.write(self._master, bytes([ord(letter.upper()) - 64]))

    def resize(self, size: Size) -> None:
        """Give the terminal another size; the kernel tells the program by SIGWINCH, as when a window is drawn wider."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))

    def end(self, seconds: float = 60) -> int:
        """Read to the end; the exit status."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            continue
        status = self.process.wait(max(1.0, deadline - time.monotonic()))
        os.close(self._master)
        return status


@contextlib.contextmanager
def at_terminal(command: list[str], environment: dict[str, str], directory: Path, size: Size = (24, 80)) -> Iterator[Terminal]:
    """A program at a terminal; it is killed at the end of the block if it has not ended."""
    opened = Terminal(command, environment, directory, size)
    try:
        yield opened
    finally:
        if opened.process.poll() is None:
            opened.process.kill()
            opened.process.wait()
