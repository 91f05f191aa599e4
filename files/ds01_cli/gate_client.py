# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Asks the gate, over the socket that docker uses: ``/ds01/v1/…`` knows the caller by the kernel's word, not by theirs."""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import Any

from .failure import Failure

DEFAULT_SOCKET = "/run/docker.sock"
_TIMEOUT_S = 10.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self._path)


def socket_path() -> str:
    """The gate's socket; DS01_GATE_SOCKET names another one."""
    return os.environ.get("DS01_GATE_SOCKET", DEFAULT_SOCKET)


def ask(route: str, *, method: str = "GET", body: Any = None) -> Any:
    """The answer to ``/ds01/v1/<route>`` as Python data. Raises Failure with a next step when there is none."""
    connection = _UnixConnection(socket_path())
    payload = None if body is None else json.dumps(body)
    headers = {} if payload is None else {"Content-Type": "application/json"}
    try:
        connection.request(method, f"/ds01/v1/{route}", body=payload, headers=headers)
        response = connection.getresponse()
        content = response.read()
    except PermissionError:
        raise Failure(f"you may not open {socket_path()}", "ask the administrator to add you to the platform") from None
    except (OSError, http.client.HTTPException) as error:
        why = f"the gate does not answer on {socket_path()} ({error})"
        raise Failure(why, "an administrator sees why with: systemctl status ds01-gate") from None
    finally:
        connection.close()
    try:
        document = json.loads(content or b"null")
    except ValueError:
        why = f"{socket_path()} answered something that is not JSON"
        raise Failure(why, "is this Docker's own socket? the gate listens on /run/docker.sock") from None
    if response.status >= 400:
        message = document.get("message", "") if isinstance(document, dict) else ""
        raise Failure(message or f"the gate answered {response.status}", "")
    return document
