# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the host is asked, and that nothing it does holds the asker up."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ds01 import host_health
from ds01.host_health import NoAnswer

# As systemd 257 prints it: properties in its own order, a list as one line an entry, an empty line between units.
SHOWN = """Id=ds01-nogpu.slice
LoadState=loaded
ActiveState=active
UnitFileState=static
ActiveEnterTimestampMonotonic=4000000
DevicePolicy=closed
DeviceAllow=char-[!n]* rwm
DeviceAllow=block-* rwm

Id=ds01-gate.service
LoadState=loaded
ActiveState=failed
Result=watchdog
NRestarts=3
UnitFileState=enabled
ActiveEnterTimestampMonotonic=0
WatchdogUSec=30s

Id=ds01-direct.socket
LoadState=not-found
ActiveState=inactive
"""


def test_units_as_systemd_prints_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def output(*command: str, timeout: float = 5.0) -> str:
        asked.append(command)
        return SHOWN

    monkeypatch.setattr(host_health, "output", output)
    names = ["ds01-nogpu.slice", "ds01-gate.service", "ds01-direct.socket"]
    found = host_health.units(names)
    assert len(asked) == 1 and asked[0][-3:] == tuple(names)
    nogpu, gate, direct = (found[name] for name in names)
    assert (nogpu.device_policy, nogpu.device_allow) == ("closed", "char-[!n]* rwm\nblock-* rwm")
    assert nogpu.runs and nogpu.since is not None and nogpu.watchdog_s == 0
    assert (gate.active, gate.result, gate.restarts, gate.since) == ("failed", "watchdog", 3, None)
    assert gate.watchdog_s > 0
    assert not direct.loaded and not direct.runs
    assert host_health.units([]) == {}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("sleep", "60"), "did not end"),
        (("sh", "-c", "echo no such bus >&2; exit 3"), "sh: no such bus"),
        (("sh", "-c", "exit 3"), "exit status 3"),
        (("/nonexistent/ds01-fence",), "No such file"),
    ],
)
def test_a_command_that_gives_no_answer(command: tuple[str, ...], words: str) -> None:
    with pytest.raises(NoAnswer, match=words):
        host_health.output(*command, timeout=0.3 if command[0] == "sleep" else 20)


def test_a_port_that_nobody_listens_on() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(NoAnswer, match="refused"):
        host_health.fetch(f"http://127.0.0.1:{port}/metrics")


def test_one_file_system_is_looked_at_once(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (found,) = host_health.file_systems([str(tmp_path), str(tmp_path / "below"), str(tmp_path / "absent")])
    assert found.path == str(tmp_path)
    assert 0 <= found.free <= found.size and not found.read_only


@pytest.mark.parametrize(("state", "synchronised"), [(0, True), (1, True), (5, False), (-1, None)])
def test_the_kernels_word_about_its_clock(monkeypatch: pytest.MonkeyPatch, state: int, synchronised: bool | None) -> None:
    """TIME_OK, TIME_INS (a leap second to come), TIME_ERROR, and a call that is not allowed (adjtimex(2))."""

    class Libc:
        @staticmethod
        def adjtimex(buffer: object) -> int:
            return state

    monkeypatch.setattr(host_health.ctypes, "CDLL", lambda *_arguments, **_options: Libc)
    assert host_health.clock_synchronised() is synchronised
