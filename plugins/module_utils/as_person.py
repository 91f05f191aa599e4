# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""One request to a Docker socket with a person's ids: the gate judges it as theirs."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Mapping
from typing import Any

from .docker_upstream import DaemonRefused, DaemonUnavailable, DockerClient


def call_as(uid: int, socket: str, method: str, target: str, body: Mapping[str, Any] | None = None) -> Any:
    """As ``DockerClient.call``, in a child process that has become the person. Raises DaemonRefused, DaemonUnavailable and LookupError."""
    try:
        person = pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        raise LookupError(f"uid {uid} has no account") from None
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(person, socket, (method, target, body), writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read()
    os.waitpid(child, 0)
    if not said:
        raise DaemonUnavailable(f"{socket}: the request as {person.pw_name} broke off")
    document = json.loads(said)
    if "status" in document:
        raise DaemonRefused(int(document["status"]), str(document["message"]))
    if "away" in document:
        raise DaemonUnavailable(str(document["away"]))
    return document["answer"]


def _child(person: pwd.struct_passwd, socket: str, request: tuple[str, str, Mapping[str, Any] | None], writer: int) -> None:
    """Never comes back: nothing of the parent may run on with the person's ids."""
    document: dict[str, Any]
    try:
        os.setgroups(os.getgrouplist(person.pw_name, person.pw_gid))
        os.setresgid(person.pw_gid, person.pw_gid, person.pw_gid)
        os.setresuid(person.pw_uid, person.pw_uid, person.pw_uid)
        document = {"answer": DockerClient(socket, timeout=3600.0).call(*request)}
    except DaemonRefused as error:
        document = {"status": error.status, "message": error.message}
    except BaseException as error:
        document = {"away": f"{type(error).__name__}: {error}"}
    try:
        os.write(writer, json.dumps(document).encode())
    finally:
        os._exit(0)
