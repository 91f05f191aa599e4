# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Docker's API through the gate, as the person who typed the command: what is refused comes as Failure, in the gate's words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from ds01.docker_upstream import DaemonRefused, DaemonUnavailable, DockerClient, Link, segment

from .failure import Failure
from .gate_client import socket_path

_HEAD = "POST {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Type: application/x-tar\r\nContent-Length: {length}\r\n\r\n"
_WAIT_S = 60.0
# A start may wait for its turn for a GPU as long as its label ds01.gpu.wait says: 7 days at most.
PATIENT_S = 8 * 86400.0


class Refused(Failure):
    """The gate or dockerd said no; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message, "")
        self.status = status


def call(method: str, target: str, body: Mapping[str, Any] | None = None, *, seconds: float = _WAIT_S) -> Any:
    """The decoded answer. Raises Refused with the answer's message, Failure when there is no answer."""
    try:
        return DockerClient(socket_path(), seconds).call(method, target, body)
    except DaemonRefused as error:
        raise Refused(error.status, error.message) from None
    except (DaemonUnavailable, ValueError) as error:
        raise _away(error) from None


def _away(error: Exception) -> Failure:
    if isinstance(error.__cause__, PermissionError):
        return Failure(f"you may not open {socket_path()}", "ask the administrator to add you to the platform")
    return Failure(f"the gate does not answer ({error})", "an administrator sees why with: systemctl status ds01-gate")


def query(**parameters: Any) -> str:
    """A query string; true is 1, None and false are left out, lists stand once an element, objects as JSON."""
    pairs: list[tuple[str, str]] = []
    for name, value in parameters.items():
        if value is None or value is False:
            continue
        for one in value if isinstance(value, (list, tuple)) else (value,):
            pairs.append((name, json.dumps(one) if isinstance(one, dict) else "1" if one is True else str(one)))
    return urlencode(pairs)


def container_target(name: str, action: str = "", **parameters: Any) -> str:
    """The path of a container and what is asked of it; raises Failure for what can't be a container's name."""
    if not name or "/" in name:
        raise Failure(f"{name!r} is not the name of a container", "ds01 container list")
    asked = query(**parameters)
    return f"/containers/{segment(name)}" + (f"/{action}" if action else "") + (f"?{asked}" if asked else "")


def build(archive: bytes, **parameters: Any) -> Iterator[dict[str, Any]]:
    """What the builder says, message by message. Leaving the iteration ends the build."""
    target = f"/build?{query(**parameters)}"
    try:
        link = Link(socket_path())
        try:
            link.send(_HEAD.format(target=target, length=len(archive)).encode() + archive)
            response = link.response("POST")
            if response.status != 200:
                data = b"".join(link.body(response))
                raise Refused(response.status, _message(data))
            rest = b""
            for piece in link.body(response):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield json.loads(line)
        finally:
            link.close()
    except (DaemonUnavailable, ValueError) as error:
        raise _away(error) from None


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data[:200].decode("utf-8", "replace") or "refused without a word"
