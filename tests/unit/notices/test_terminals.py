# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Terminals: everybody of the person, nobody else's, and never a wait."""

from __future__ import annotations

import os
import select
import termios
import time
from pathlib import Path

from ds01.terminals import terminals, write


def test_every_terminal_of_a_person_gets_the_line() -> None:
    pairs = [os.openpty() for _ in range(2)]
    try:
        paths = [os.ttyname(slave) for _, slave in pairs]
        found = terminals()
        assert set(paths) <= set(found[os.stat(paths[0]).st_uid])
        assert write(paths, os.getuid(), "the server goes down") == 2
        for master, _ in pairs:
            assert b"the server goes down\r" in os.read(master, 1000)
    finally:
        for pair in pairs:
            for descriptor in pair:
                os.close(descriptor)


def test_what_is_not_the_persons_or_no_terminal_gets_nothing(tmp_path: Path) -> None:
    master, slave = os.openpty()
    try:
        plain, link, pipe = tmp_path / "0", tmp_path / "1", tmp_path / "2"
        plain.write_text("mine")
        link.symlink_to(os.ttyname(slave))
        os.mkfifo(pipe)
        keep = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        before = time.monotonic()
        assert write([str(plain), str(link), str(pipe), str(tmp_path / "3"), "/dev/null"], os.getuid(), "x") == 0
        assert write([os.ttyname(slave)], os.getuid() + 1, "x") == 0
        assert time.monotonic() - before < 1
        assert plain.read_text() == "mine"
        os.close(keep)
        assert [path for paths in terminals(str(tmp_path)).values() for path in paths] == [str(plain), str(link), str(pipe)]
    finally:
        os.close(master)
        os.close(slave)


def test_a_terminal_that_nobody_reads_does_not_hold_the_writer() -> None:
    master, slave = os.openpty()
    try:
        path = os.ttyname(slave)
        before = time.monotonic()
        results = [write([path], os.getuid(), "y" * 4000) for _ in range(200)]
        assert time.monotonic() - before < 5
        assert 0 in results, "the terminal took everything: the test did not fill it"
    finally:
        os.close(master)
        os.close(slave)


def test_a_terminal_that_its_owner_has_halted_does_not_hold_the_writer() -> None:
    """Ctrl-S: XOFF halts the output of the terminal; a plain write(2) would wait for Ctrl-Q."""
    halted, free = os.openpty(), os.openpty()
    try:
        termios.tcflow(halted[1], termios.TCOOFF)
        paths = [os.ttyname(slave) for _, slave in (halted, free)]
        before = time.monotonic()
        for _ in range(20):
            assert write(paths, os.getuid(), "y" * 4000) >= 0
        assert time.monotonic() - before < 10
        assert b"yyyy" in os.read(free[0], 1000), "the other terminal of the person was not written to"
        assert not select.select([halted[0]], [], [], 0)[0], "the terminal was not halted: nothing was tried"
    finally:
        for descriptor in (*halted, *free):
            os.close(descriptor)


def test_there_may_be_no_terminals() -> None:
    assert terminals("/nowhere") == {}
