# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Talks to systemd: sockets that it passes (sd_listen_fds(3)) and what it wants to hear (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket

_FIRST_PASSED_DESCRIPTOR = 3


def passed_sockets() -> list[socket.socket]:
    """The listening sockets that systemd passed to this process; empty when there are none."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    return [socket.socket(fileno=descriptor) for descriptor in range(_FIRST_PASSED_DESCRIPTOR, _FIRST_PASSED_DESCRIPTOR + count)]


def notify(state: str) -> None:
    """Send a state line such as ``READY=1``; nothing happens when systemd does not listen."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
        link.sendto(state.encode(), address)


def watchdog_seconds() -> float | None:
    """How often systemd wants a sign of life (half of WatchdogSec), None when it wants none."""
    microseconds = os.environ.get("WATCHDOG_USEC")
    if not microseconds or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2_000_000
