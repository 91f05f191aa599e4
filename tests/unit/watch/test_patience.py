# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Reads that strangers can make wait for ever cost a moment, and not more than a few threads."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from ds01_watch.gpu_processes import GpuProcesses

from ds01.patience import Patience
from ds01.proc_facts import read_process


def test_what_never_answers_is_given_up_and_does_not_pile_up() -> None:
    never = threading.Event()
    patience = Patience(0.01, most_stuck=2)
    tried: list[int] = []

    def hang() -> bool:
        tried.append(1)
        return never.wait()

    assert [patience.read(hang) for _ in range(5)] == [None] * 5
    assert (len(tried), patience.stuck) == (2, 2)
    assert patience.read(lambda: True) is None, "nothing more is tried while so many are stuck"
    never.set()


def test_what_answers_is_told_and_an_error_is_nothing() -> None:
    patience = Patience(5.0)
    assert patience.read(lambda: 7) == 7
    assert patience.read(lambda: os.stat("/nonexistent")) is None
    assert patience.stuck == 0


def test_a_process_whose_memory_does_not_answer_is_seen_all_the_same(tmp_path: Path) -> None:
    base = tmp_path / "77"
    base.mkdir()
    (base / "stat").write_text("77 (a b) " + " ".join(["S", *["0"] * 18, "4242", *["0"] * 20]))
    (base / "cgroup").write_text("0::/user.slice/user-1002.slice/session-1.scope\n")
    (base / "comm").write_text("miner\n")
    (base / "loginuid").write_text("1002")
    os.mkfifo(base / "cmdline")  # opening it waits for a writer, for ever
    look = {"gpus": {"GPU-0": {"processes": [[77, None, 5]]}, "GPU-1": {"processes": [[77, None, 6]]}}}
    found = GpuProcesses(str(tmp_path)).of(look)
    assert [(one.pid, one.start_ticks, one.login_uid, one.command, one.gpu_uuid) for one in found] == [
        (77, 4242, 1002, "[miner]", "GPU-0"),
        (77, 4242, 1002, "[miner]", "GPU-1"),
    ]


def test_a_long_command_line_is_cut() -> None:
    found = read_process(os.getpid())
    assert found is not None
    assert 0 < len(found.command) <= 4096
