# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Exec: a process in an own container, without more privileges than the container has."""

from __future__ import annotations

import re

from .body_fields import Field, Kind, Table, Treatment, read
from .case import Case
from .create_fields import FLAG, TEXT, TEXTS, WORDS
from .facts import Container
from .made_with import check_enter
from .ownership import own_container
from .rebuild import forward, wanted_upgrade
from .verdict import Forward, Stop

_EXEC = Table(
    {
        "AttachStdin": FLAG,
        "AttachStdout": FLAG,
        "AttachStderr": FLAG,
        "ConsoleSize": Field(Kind.INTEGERS),
        "DetachKeys": TEXT,
        "Tty": FLAG,
        "Env": TEXTS,
        "Cmd": WORDS,
        "User": TEXT,
        "WorkingDir": TEXT,
        "Privileged": Field(
            Kind.ANY,
            Treatment.DENY,
            why="a privileged process is root on the host",
            instead="Leave --privileged out; -u root gives root in the container.",
        ),
        "Detach": Field(Kind.FLAG, Treatment.DROP),
        "Container": Field(Kind.TEXT, Treatment.DROP),
    }
)
_START = Table({"Detach": FLAG, "Tty": FLAG, "ConsoleSize": Field(Kind.INTEGERS)})
_EXEC_ID = re.compile(r"[0-9a-f]{64}")


def create_exec(case: Case) -> Forward:
    """A new exec instance."""
    found = own_container(case, case.request.names["id"])
    check_enter(case, found)
    return forward(case, names={"id": found.id}, body=read(case.body, _EXEC), object_id=found.id)


def _own_exec(case: Case) -> Container:
    """The caller's container that the exec instance of the path runs in; 404 otherwise."""
    exec_id = case.request.names["id"]
    gone = Stop(404, f"No such exec instance: {exec_id}", "not-yours")
    if _EXEC_ID.fullmatch(exec_id) is None:
        raise gone
    instance = case.facts.exec(exec_id)
    if instance is None:
        raise gone
    try:
        return own_container(case, instance.container_id)
    except Stop:
        raise gone from None


def exec_instance(case: Case) -> Forward:
    """Inspect and resize."""
    return forward(case, object_id=_own_exec(case).id)


def start_exec(case: Case) -> Forward:
    """Start: hijacked unless detached."""
    found = _own_exec(case)
    body = read(case.body if case.body is not None else {}, _START)
    detached = body.get("Detach", False)
    return forward(case, body=body, upgrade=None if detached else wanted_upgrade(case), endless=not detached, object_id=found.id)
