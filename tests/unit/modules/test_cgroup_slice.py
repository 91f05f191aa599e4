# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""cgroup_slice: check, real and again; running slices are held to a change; the kernel has the last word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ds01.infra.plugins.module_utils import systemd_units
from ansible_collections.ds01.infra.plugins.modules import cgroup_slice
from ansible_collections.ds01.infra.tests.unit.modules.module_runs import Outcome, run_module


class Host:
    """systemctl and a cgroup tree: a running slice is what ``set-property`` made it. ``deaf``: the kernel does not follow."""

    def __init__(self, root: Path) -> None:
        self.units, self.cgroups = root / "system", root / "cgroup"
        self.units.mkdir()
        self.cgroups.mkdir()
        self.devices: dict[str, list[str]] = {}
        self.calls: list[tuple[str, ...]] = []
        self.stale: set[str] = set()
        self.deaf = False

    def path(self, name: str) -> Path:
        parts = name.removesuffix(".slice").split("-")
        return self.cgroups.joinpath(*("-".join(parts[: n + 1]) + ".slice" for n in range(len(parts))))

    def start(self, name: str) -> None:
        self.path(name).mkdir(parents=True)
        self.devices[name] = []
        for file, value in (("cpu.max", "max 100000"), ("memory.high", "max"), ("memory.max", "max"), ("pids.max", "max"), ("io.max", "")):
            (self.path(name) / file).write_text(value + "\n")

    def systemctl(self, *words: str) -> str:
        if words[0] == "show":
            return "\n\n".join(self._show(name) for name in words[words.index("--") + 1 :]) + "\n"
        self.calls.append(words)
        if words[0] == "daemon-reload":
            self.stale.clear()
        elif not self.deaf:
            self._set(words[2], words[3:])
        return ""

    def _show(self, name: str) -> str:
        lines = [f"Id={name}", f"ActiveState={'active' if name in self.devices else 'inactive'}"]
        lines += [f"NeedDaemonReload={'yes' if name in self.stale else 'no'}"]
        return "\n".join(lines + [f"DeviceAllow={entry}" for entry in self.devices.get(name, [])])

    def _set(self, name: str, assignments: tuple[str, ...]) -> None:
        files = {"MemoryHigh": "memory.high", "MemoryMax": "memory.max", "TasksMax": "pids.max"}
        for assignment in assignments:
            key, _, value = assignment.partition("=")
            if key in files:
                (self.path(name) / files[key]).write_text(value.replace("infinity", "max") + "\n")
            elif key == "CPUQuota":
                quota = str(round(float(value.rstrip("%")) * 1000)) if value else "max"
                (self.path(name) / "cpu.max").write_text(f"{quota} 100000\n")
            elif key == "DeviceAllow":
                self.devices[name] = [*self.devices[name], value] if value else []


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setattr(systemd_units, "systemctl", made.systemctl)
    return made


ONE = {"name": "ds01-u1001.slice", "cpus": 1.5, "memory_high": 2**30, "memory_max": 2**31, "tasks": 77, "device_filter": "open"}


def converge(host: Host, *slices: dict[str, Any], check: bool = False, **options: Any) -> Outcome:
    places = {"unit_directory": str(host.units), "cgroup_root": str(host.cgroups)}
    return run_module(cgroup_slice, {"slices": list(slices), **places, **options}, check=check)


def test_check_real_again(host: Host) -> None:
    predicted = converge(host, ONE, check=True)
    assert predicted.changed and list(host.units.iterdir()) == [] and host.calls == []
    real = converge(host, ONE)
    assert real.result == predicted.result and host.calls == [("daemon-reload",)]
    text = (host.units / "ds01-u1001.slice").read_text()
    assert "CPUQuota=150%\nMemoryHigh=1073741824\nMemoryMax=2147483648\nTasksMax=77\n" in text
    assert "DevicePolicy=closed\nDeviceAllow=char-* rwm\nDeviceAllow=block-* rwm\n" in text
    for again in (converge(host, ONE), converge(host, ONE, check=True)):
        assert not again.changed and again.result["actions"] == [] and again.result["diff"] == []


def test_a_running_slice_is_held_at_once_and_only_the_one_that_differs(host: Host) -> None:
    other = {**ONE, "name": "ds01-u1002.slice"}
    for item in (ONE, other):
        host.start(item["name"])
    converge(host, ONE, other)
    host.calls.clear()
    real = converge(host, {**ONE, "memory_max": 2**32}, other)
    assert [c[:3] for c in host.calls if c[0] != "daemon-reload"] == [("set-property", "--runtime", "ds01-u1001.slice")]
    assert (host.path("ds01-u1001.slice") / "memory.max").read_text().strip() == str(2**32)
    assert any("memory.max is '2147483648', should be '4294967296'" in action for action in real.result["actions"])
    assert not converge(host, {**ONE, "memory_max": 2**32}, other).changed


def test_a_limit_that_was_taken_away_is_unlimited(host: Host) -> None:
    host.start(ONE["name"])
    converge(host, ONE)
    assert converge(host, {"name": ONE["name"], "device_filter": "open"}).changed
    assert (host.path(ONE["name"]) / "memory.max").read_text() == "max\n" and (
        host.path(ONE["name"]) / "cpu.max"
    ).read_text() == "max 100000\n"


def test_what_somebody_changed_by_hand_is_put_right(host: Host) -> None:
    host.start(ONE["name"])
    converge(host, ONE)
    (host.path(ONE["name"]) / "pids.max").write_text("max\n")
    host.devices[ONE["name"]].append("/dev/char/195:0 rw")
    real = converge(host, ONE)
    assert real.result["actions"] == ["hold ds01-u1001.slice: pids.max is 'max', should be '77'; devices have /dev/char/195:0"]
    assert not converge(host, ONE).changed


def test_a_kernel_that_does_not_follow_is_a_failure(host: Host) -> None:
    host.start(ONE["name"])
    host.deaf = True
    outcome = converge(host, ONE)
    assert outcome.failed and "the kernel does not hold" in outcome.result["msg"] and "memory.max is 'max'" in outcome.result["msg"]


def test_a_reload_that_was_missed_is_made_up(host: Host) -> None:
    converge(host, ONE)
    host.stale.add(ONE["name"])
    assert converge(host, ONE).result["actions"] == ["reload the manager"] and not converge(host, ONE).changed


def test_purge_takes_what_the_module_wrote_and_nothing_else(host: Host) -> None:
    converge(host, ONE, {**ONE, "name": "ds01-u1002.slice"})
    (host.units / "mine.slice").write_text("[Slice]\n")
    assert not converge(host, ONE).changed
    assert converge(host, ONE, purge=True).result["actions"] == [f"remove {host.units}/ds01-u1002.slice", "reload the manager"]
    assert sorted(p.name for p in host.units.iterdir()) == ["ds01-u1001.slice", "mine.slice"]
    assert converge(host, {"name": "mine.slice", "state": "absent"}).changed and not (host.units / "mine.slice").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "../x.slice"}, "no name of a slice"),
        ({"name": "a--b.slice"}, "no name of a slice"),
        ({"name": "x.service"}, "no name of a slice"),
        ({"cpus": 0}, "cpus is 0"),
        ({"memory_max": -1}, "memory_max is -1"),
        ({"io_weight": 0}, "io_weight is 0"),
        ({"memory_high": 2**33}, "would do nothing"),
        ({"io_read_bps": 5}, "without io_paths"),
        ({"description": "a\n[Slice]"}, "one line"),
        ({"io_paths": ["/x%n"]}, "specifier"),
    ],
)
def test_nothing_is_written_of_what_is_wrong(host: Host, change: dict[str, Any], says: str) -> None:
    good = {**ONE, "name": "ds01-u1009.slice"}
    outcome = converge(host, good, {**ONE, **change})
    assert outcome.failed and says in outcome.result["msg"] and list(host.units.iterdir()) == []


def test_the_same_slice_twice(host: Host) -> None:
    assert "listed twice" in converge(host, ONE, ONE).result["msg"]
