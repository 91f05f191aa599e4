# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A program of the platform leaves the login session, and only then: root in a session, nobody else, nowhere else."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ds01 import own_scope
from ds01.systemd_bus import BusError


class Bus:
    """Records what systemd is asked for."""

    def __init__(self, error: BusError | None = None) -> None:
        self.asked: list[tuple[str, list[Any]]] = []
        self.error = error

    def start_transient(self, unit: str, properties: list[Any]) -> None:
        self.asked.append((unit, properties))
        if self.error:
            raise self.error

    def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("uid", "cgroup", "moves"),
    [
        (0, "/user.slice/user-1000.slice/session-3.scope", True),
        (0, "/user.slice/user-0.slice/session-1.scope", True),
        (1000, "/user.slice/user-1000.slice/session-3.scope", False),
        (0, "/system.slice/ds01-mig.service", False),
        (0, "/", False),
    ],
)
def test_who_moves(monkeypatch: pytest.MonkeyPatch, uid: int, cgroup: str, moves: bool) -> None:
    monkeypatch.setattr(own_scope.os, "geteuid", lambda: uid)
    monkeypatch.setattr(own_scope, "cgroup_of", lambda pid: cgroup)
    bus = Bus()
    assert own_scope.leave_session("ds01-mig", bus) is None  # type: ignore[arg-type]
    assert [unit for unit, _ in bus.asked] == ([f"ds01-mig-{os.getpid()}.scope"] if moves else [])
    if moves:
        assert ("PIDs", "au", [os.getpid()]) in bus.asked[0][1]
        assert ("Slice", "s", "system.slice") in bus.asked[0][1]


def test_staying_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_scope.os, "geteuid", lambda: 0)
    monkeypatch.setattr(own_scope, "cgroup_of", lambda pid: "/user.slice/user-1.slice/s")
    why = own_scope.leave_session("ds01-mig", Bus(BusError("no bus")))  # type: ignore[arg-type]
    assert why is not None
    assert "no bus" in why
