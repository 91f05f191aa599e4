# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Hears from the kernel's log which processes it killed for want of memory.

dockerd says so too, but not when the container's first process is the one that was killed: by then the cgroup is gone that containerd
counts in. The kernel limits how often it writes (ten kills in five seconds); what it leaves out only dockerd may tell.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable

from ds01.core.oom_record import OomKill, oom_kill

_LOG = logging.getLogger("ds01.watch")
KERNEL_LOG = "/dev/kmsg"
_LONGEST_RECORD = 8192


class OomFeed:
    """``killed`` is called for each kill in a container from now on."""

    def __init__(self, killed: Callable[[OomKill], None], path: str = KERNEL_LOG) -> None:
        self._killed = killed
        self._path = path

    def start(self) -> None:
        """Start the feed's thread. Where the kernel's log can't be read that is said once, and dockerd's word is all there is."""
        threading.Thread(target=self._run, name="oom-feed", daemon=True).start()

    def _run(self) -> None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            _LOG.warning("%s: %s; kills for want of memory are known from dockerd alone", self._path, error.strerror)
            return
        try:
            os.lseek(descriptor, 0, os.SEEK_END)
            while self._take(descriptor):
                continue
        except OSError as error:
            _LOG.warning("%s: %s; kills for want of memory are known from dockerd alone from now on", self._path, error.strerror)
        finally:
            os.close(descriptor)

    def _take(self, descriptor: int) -> bool:
        """One record; False at the end, which the kernel's log does not have."""
        try:
            record = os.read(descriptor, _LONGEST_RECORD)
        except OSError as error:
            if error.errno == errno.EPIPE:  # records were overwritten before they were read; the next read goes on with the oldest
                return True
            raise
        found = oom_kill(record.decode("utf-8", "replace"))
        if found is not None:
            self._killed(found)
        return bool(record)
