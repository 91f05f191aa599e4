# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Says a refusal where people will see it: runc's log (which dockerd shows to the client), stderr, and the journal."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from datetime import datetime, timezone

_AUTH_NOTICE = 10 * 8 + 5  # facility authpriv, severity notice (RFC 5424)


def to_client(message: str, log: str | None) -> None:
    """containerd's shim takes the last ``error`` line of the runtime's JSON log as the reason of the failure."""
    line = json.dumps({"level": "error", "msg": message, "time": datetime.now(timezone.utc).isoformat()})
    if log:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode() + b"\n")
        finally:
            os.close(descriptor)
    sys.stderr.write(message + "\n")


def to_journal(event: dict[str, object]) -> None:
    """One JSON line to syslog. A journal that is away must not stop a container, nor may the line go to stderr: that is the container's."""
    text = f"<{_AUTH_NOTICE}>ds01-guard: {json.dumps(event, sort_keys=True)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as channel, contextlib.suppress(OSError):
        channel.sendto(text.encode(), "/dev/log")
