# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Sends a line to the systemd journal with fields of its own (systemd.journal-fields(7), native protocol), without ever waiting for it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"


def send(fields: Mapping[str, str], path: str = SOCKET) -> bool:
    """One entry; False when the journal did not take it. Values of several lines are sent with their length, as the protocol asks."""
    data = bytearray()
    for name, value in fields.items():
        encoded = value.encode("utf-8", "replace")
        if b"\n" in encoded:
            data += name.encode() + b"\n" + len(encoded).to_bytes(8, "little") + encoded + b"\n"
        else:
            data += name.encode() + b"=" + encoded + b"\n"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
        link.setblocking(False)
        link.sendto(data, path)
        return True
    return False
