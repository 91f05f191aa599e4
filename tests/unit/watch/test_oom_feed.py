# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The feed of the kernel's log, over a file in its place."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from ds01_watch.oom_feed import OomFeed

from ds01.core.oom_record import OomKill

ID = "ab" * 32
RECORD = (
    "6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/ds01.slice,"
    f"task_memcg=/ds01.slice/ds01-u3101.slice/docker-{ID}.scope,task=python,pid=7,uid=0\n"
)


def test_a_kill_from_now_on_is_told(tmp_path: Path) -> None:
    heard: list[OomKill] = []
    told = threading.Event()

    def killed(kill: OomKill) -> None:
        heard.append(kill)
        told.set()

    # A FIFO, because a regular file ends; it can't be sought in, so the feed is given what the kernel's log would hold from now on.
    path = tmp_path / "kmsg"
    reader, writer = os.pipe()
    try:
        feed = OomFeed(killed, str(path))
        os.write(writer, RECORD.encode())
        assert feed._take(reader)
        assert told.wait(5) and heard == [OomKill(ID, "python", 7)]
        os.write(writer, b"6,2,3,-;usb 1-1: new device\n")
        assert feed._take(reader) and len(heard) == 1
    finally:
        os.close(reader)
        os.close(writer)


def test_a_log_that_can_t_be_read_costs_nothing_else(tmp_path: Path) -> None:
    feed = OomFeed(lambda kill: None, str(tmp_path / "none"))
    feed._run()
