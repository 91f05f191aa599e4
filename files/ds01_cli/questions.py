# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Questions to the person at the terminal. Ctrl-D is taken as Ctrl-C: it leaves; nothing is asked where nobody can answer."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from .failure import Failure
from .screen import paint, printable, wrapped

T = TypeVar("T")
_LOOK_S = 0.5


def interactive() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _read(prompt: str) -> str:
    """A line. Not by ``input``: a Ctrl-C between its prompt and its reading is only noticed after the next line."""
    print(prompt, end="", flush=True)
    while not select.select([sys.stdin], [], [], _LOOK_S)[0]:
        continue
    line = sys.stdin.readline()
    if not line:
        print()
        raise KeyboardInterrupt
    return line.strip()


def confirmed(question: str, *, yes: bool, default: bool = False) -> bool:
    """The answer to a yes-or-no question; yes without asking with ``yes``. Raises Failure where nobody can be asked."""
    if yes:
        return True
    if not interactive():
        raise Failure(f"this asks first ({question}) and standard input is not a terminal", "answer beforehand with --yes")
    while True:
        answer = _read(f"{question} [{'Y/n' if default else 'y/N'}] ").lower()
        if not answer:
            return default
        if answer in ("y", "yes"):
            return True
        if answer in ("n", "no"):
            return False
        print("Please answer y or n.")


def asked(question: str, default: str, check: Callable[[str], T]) -> T:
    """A checked answer; ``check`` raises Failure for what is not usable, which is said, and the question comes again."""
    while True:
        answer = _read(f"{question} [{default}]: " if default else f"{question}: ") or default
        try:
            return check(answer)
        except Failure as failure:
            say(failure)


def chosen(question: str, options: Sequence[tuple[str, str]], default: int = 0) -> int:
    """The position of the option that was picked, by number; each option is (name, meaning)."""
    widest = max(len(printable(name)) for name, _ in options)
    for number, (name, meaning) in enumerate(options, 1):
        print(f"  {number:>2}  {printable(name).ljust(widest)}  {printable(meaning)}".rstrip())

    def check(answer: str) -> int:
        if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(options):
            return int(answer) - 1
        names = [name for name, _ in options]
        if answer in names:
            return names.index(answer)
        raise Failure(f"{answer!r} is none of them", f"expected a number from 1 to {len(options)}")

    return asked(question, str(default + 1), check)


def say(failure: Failure) -> None:
    """Tell what is not possible and what would be, and go on."""
    text = wrapped(f"Not possible: {failure.why}", sys.stdout).removeprefix("Not possible:")
    print(f"{paint('Not possible:', 'yellow')}{text}" + (f"\n{failure.next_step}" if failure.next_step else ""))
