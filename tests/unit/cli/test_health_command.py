# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 health`` on a server where all is well, on one with each part broken, and on one where parts hang."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from ds01_cli import health_command
from ds01_cli.__main__ import main
from ds01_cli.health_checks import Checks, Places
from ds01_cli.health_command import examine, render

from ds01 import host_health
from ds01.core.health import Finding, Level, exit_code, fail, ok, warn
from ds01.core.health_host import DiskFacts, disks
from ds01.host_health import NoAnswer
from tests.unit.cli.health_world import HELD, SECOND, World, checks, hanging_socket, world

__all__ = ["checks", "world"]

OTHER_ID = "f" * 64
Break = Callable[[World], None]


def test_all_is_well(checks: Checks) -> None:
    found = examine(checks.all())
    assert [(one.part, one.level, one.what) for one in found if one.level is not Level.OK] == []
    assert {one.part for one in found} == set(checks.all())
    assert exit_code(found) == 0


def unit(name: str, **values: str) -> Break:
    return lambda world: world.units.setdefault(name, {}).update(values)


def away(name: str) -> Break:
    return unit(name, LoadState="not-found", ActiveState="inactive", UnitFileState="")


def document(name: str, **values: object) -> Break:
    return lambda world: world.put(name, {**json.loads((world.directory / name).read_text()), **values})


def container(**values: object) -> Break:
    return lambda world: world.docker["/containers/json"][0].update(values)


def directories(*paths: str) -> Break:
    def destroy(world: World) -> None:
        for path in paths:
            (world.directory / path).mkdir(parents=True)

    return destroy


def info(**values: object) -> Break:
    return lambda world: world.docker["/info"].update(values)


def program(name: str, answer: object) -> Break:
    return lambda world: world.answers.update({name: answer})


def web(path: str, answer: object) -> Break:
    return lambda world: world.web.update({path: answer})


def rule(**values: str) -> Break:
    return web("/api/v1/rules", {"data": {"groups": [{"rules": [values]}]}})


def without_log(world: World) -> None:
    world.remove("log/events.jsonl")
    (world.directory / "log").rmdir()


def fifo_for_a_log(world: World) -> None:
    world.remove("log/events.jsonl")
    os.mkfifo(world.directory / "log" / "events.jsonl")


BROKEN: list[tuple[str, str, Level, str, Break]] = [
    ("the gate's socket is closed", "gate", Level.FAIL, "nobody but root reaches Docker", unit("ds01-gate.socket", ActiveState="inactive")),
    ("the gate is not installed", "gate", Level.FAIL, "not installed", away("ds01-gate.socket")),
    ("the gate has failed", "gate", Level.FAIL, "failed (watchdog)", unit("ds01-gate.service", ActiveState="failed", Result="watchdog")),
    ("the gate does not answer", "gate", Level.FAIL, "404", lambda w: w.gate.clear()),
    ("Docker's own socket is in its place", "gate", Level.FAIL, "not JSON", lambda w: w.gate.update({"/ds01/v1/me": "page not found"})),
    (
        "the emergency door is open",
        "gate",
        Level.FAIL,
        "around the gate",
        unit("ds01-direct.socket", LoadState="loaded", ActiveState="active"),
    ),
    ("the gate is older than the release", "gate", Level.WARN, "older release", lambda w: os.utime(w.directory / "current", (1e10, 1e10))),
    ("the gate has no watchdog", "gate", Level.WARN, "no watchdog", unit("ds01-gate.service", WatchdogUSec="0")),
    ("the gate will not come back", "gate", Level.WARN, "after a reboot", unit("ds01-gate.service", UnitFileState="disabled")),
    ("runc without the guard", "guard", Level.FAIL, "'runc'", info(DefaultRuntime="runc")),
    ("another guard", "guard", Level.FAIL, "/tmp/guard", info(Runtimes={"ds01-guard": {"path": "/tmp/guard"}})),
    ("the guard only observes", "guard", Level.WARN, "only observes", lambda w: w.put("guard.json", '{"mode": "observe"}')),
    ("cgroupfs", "guard", Level.FAIL, "in no slice", info(CgroupDriver="cgroupfs")),
    ("containers die with dockerd", "guard", Level.WARN, "live-restore", info(LiveRestoreEnabled=False)),
    ("dockerd is gone", "guard", Level.FAIL, "can't be looked at", lambda w: w.remove("docker.sock")),
    ("the splice is closed", "splice", Level.FAIL, "terminals end", unit("ds01-splice.socket", ActiveState="failed")),
    ("the splice has failed", "splice", Level.FAIL, "terminals end", unit("ds01-splice.service", ActiveState="failed")),
    ("the watcher is down", "watcher", Level.FAIL, "nothing on the GPUs is seen", unit("ds01-watch.service", ActiveState="failed")),
    ("it published nothing", "watcher", Level.FAIL, "no inventory", lambda w: w.remove("inventory.json")),
    ("its inventory is old", "watcher", Level.FAIL, "s old", document("inventory.json", uptime=-1000.0)),
    ("its inventory is of another boot", "watcher", Level.FAIL, "s old", document("inventory.json", uptime=1e9)),
    (
        "NVML hangs",
        "watcher",
        Level.FAIL,
        "gpu does not answer",
        document("inventory.json", sources={"gpu": {"ok": False, "error": "hangs"}}),
    ),
    ("half of an inventory", "watcher", Level.FAIL, "can't be looked at", lambda w: w.put("inventory.json", '{"uptime":')),
    ("the watcher has no watchdog", "watcher", Level.WARN, "no watchdog", unit("ds01-watch.service", WatchdogUSec="0")),
    ("a slice has no filter", "slices", Level.FAIL, "no device filter", unit("ds01-nogpu.slice", DevicePolicy="auto")),
    (
        "a slice opens a GPU",
        "slices",
        Level.FAIL,
        "/dev/nvidia0",
        unit("ds01-build.slice", DeviceAllow="char-[!n]* rwm\nDeviceAllow=/dev/nvidia0 rw"),
    ),
    ("a slice opens all GPUs", "slices", Level.FAIL, "char-nvidia", unit("ds01-build.slice", DeviceAllow="char-nvidia* rw")),
    ("a slice is missing", "slices", Level.FAIL, "not known", away("ds01-build.slice")),
    ("no fence", "fence", Level.FAIL, "ds01-fence.service", unit("ds01-fence.service", ActiveState="failed")),
    ("a session outside the fence", "fence", Level.FAIL, "user-1000.slice can open", unit("user-1000.slice", DevicePolicy="auto")),
    ("the fence is off", "fence", Level.WARN, "switched off", document("fence.json", enforced=False)),
    ("the fence does not answer", "fence", Level.FAIL, "can't be looked at", program("ds01-fence", NoAnswer("it crashed"))),
    ("a server without a fence", "fence", Level.ABSENT, "no fence", lambda w: w.remove("fence.json")),
    ("no timer", "lifecycle", Level.FAIL, "nobody is warned", unit("ds01-lifecycle.timer", ActiveState="inactive")),
    ("the last look failed", "lifecycle", Level.FAIL, "error", unit("ds01-lifecycle.service", ActiveState="failed", Result="exit-code")),
    ("a claim leaks", "claims", Level.WARN, HELD.id, container(State="exited")),
    ("a process outlives its container", "claims", Level.WARN, "has the GPU", lambda w: w.hold(replace(HELD, ending_since=1.0))),
    ("a claim's container is gone", "claims", Level.WARN, HELD.id, lambda w: w.docker["/containers/json"].clear()),
    (
        "a container runs without its claim",
        "claims",
        Level.FAIL,
        OTHER_ID[:12],
        container(Id=OTHER_ID, Labels={"ds01.claim": "cffffffffffff"}),
    ),
    ("a claim that can't be read", "claims", Level.FAIL, "can't be read", lambda w: w.put("cdi/ds01-c00000000000f.json", "{")),
    (
        "a slice without a claim",
        "claims",
        Level.WARN,
        "slices of",
        directories("cgroups/ds01.slice/ds01-u7.slice/ds01-u7-cffffffffffff.slice"),
    ),
    ("no snapshot", "claims", Level.WARN, "no snapshot", lambda w: w.remove("devices.json")),
    ("the device is gone", "claims", Level.WARN, "not on this server", document("devices.json", gpus=[])),
    (
        "a GPU does not answer",
        "GPUs",
        Level.FAIL,
        "GPU 3",
        document("inventory.json", gpus=[{"index": 3, "healthy": True, "answers": False}]),
    ),
    (
        "a stranger on a GPU",
        "GPUs",
        Level.WARN,
        "2 host, 1 raw",
        document("inventory.json", workloads=[{"kind": k} for k in ("host", "raw", "host")]),
    ),
    ("another layout", "MIG", Level.WARN, "create 3g", program("ds01-mig", {"actions": ["create 3g.20gb at 0 on GPU 1"]})),
    ("the driver hangs", "MIG", Level.FAIL, "did not end", program("ds01-mig", NoAnswer("ds01-mig did not end within 5 s"))),
    ("no layout", "MIG", Level.ABSENT, "no layout", lambda w: w.remove("mig.json")),
    ("no policy", "policy", Level.FAIL, "last good one", lambda w: w.remove("policy.json")),
    ("a policy that is none", "policy", Level.FAIL, "last good one", lambda w: w.put("policy.json", "{}{")),
    ("a wrong policy", "policy", Level.FAIL, "gruops", document("policy.json", gruops={})),
    ("everybody writes the log", "event log", Level.FAIL, "others than root", lambda w: (w.directory / "log/events.jsonl").chmod(0o666)),
    ("everybody renames the log", "event log", Level.FAIL, "others than root", lambda w: (w.directory / "log").chmod(0o777)),
    ("events were lost", "event log", Level.WARN, "7 events", web("/metrics", 'ds01_events_unwritten_total{writer="g"} 7.0\n')),
    ("no log directory", "event log", Level.FAIL, "No such file", without_log),
    ("a FIFO for a log", "event log", Level.FAIL, "no regular", fifo_for_a_log),
    (
        "a target is down",
        "prometheus",
        Level.FAIL,
        "node",
        web("/api/v1/targets", {"data": {"activeTargets": [{"labels": {"job": "node"}, "health": "down"}]}}),
    ),
    ("an alert fires", "prometheus", Level.WARN, "DS01DiskFull", rule(name="DS01DiskFull", health="ok", state="firing")),
    ("a rule is broken", "prometheus", Level.FAIL, "user:x", rule(name="user:x", health="err")),
    ("Prometheus is down", "prometheus", Level.FAIL, "does not answer", web("/api/v1/targets", None)),
    ("no Prometheus", "prometheus", Level.ABSENT, "no Prometheus", away("prometheus.service")),
    ("alerts reach nobody", "alertmanager", Level.WARN, "reach nobody", web("/api/v2/status", {"config": {"original": "receivers:"}})),
    ("Alertmanager is down", "alertmanager", Level.FAIL, "does not answer", web("/api/v2/status", None)),
    ("no Alertmanager", "alertmanager", Level.ABSENT, "no Alertmanager", away("prometheus-alertmanager.service")),
    ("the clock runs free", "clock", Level.WARN, "not synchronised", lambda w: setattr(w, "clock", False)),
    ("a kernel that does not say", "clock", Level.WARN, "does not say", lambda w: setattr(w, "clock", None)),
    ("a log of somebody's", "event log", Level.FAIL, "others than root", lambda w: setattr(w, "owner", 4711)),
    ("one device twice", "claims", Level.FAIL, "claimed twice", lambda w: w.hold(SECOND)),
    (
        "a unit of ours failed",
        "units",
        Level.FAIL,
        "ds01-mig.service",
        lambda w: w.listed["--state=failed"].extend(["apt.service", "ds01-mig.service"]),
    ),
    ("another unit failed", "units", Level.WARN, "apt.service", lambda w: w.listed["--state=failed"].append("apt.service")),
]


@pytest.mark.parametrize(("part", "level", "words", "destroy"), [one[1:] for one in BROKEN], ids=[one[0] for one in BROKEN])
def test_a_broken_part_is_named_and_the_others_are_seen(world: World, part: str, level: Level, words: str, destroy: Break) -> None:
    destroy(world)
    checks = Checks(world.places())
    found = examine(checks.all())
    told = [one for one in found if one.part == part and one.level is level]
    assert told, [(one.part, one.level.value, one.what) for one in found]
    assert any(words in one.what for one in told), told
    assert all(one.next_step for one in told if level in (Level.WARN, Level.FAIL)), "says nothing of what to do"
    assert {one.part for one in found} == set(checks.all())
    assert exit_code(found) == {Level.ABSENT: 0, Level.WARN: 1, Level.FAIL: 2}[level]


def test_the_exempt_may_be_outside_the_fence(world: World, checks: Checks) -> None:
    world.units["user-1000.slice"] = {"DevicePolicy": "auto"}
    world.answers["ds01-fence"] = [{"user": "alice", "uid": 1000, "until": None, "why": ["policy"]}]
    assert [one.level for one in checks.fence()] == [Level.OK]


def test_nothing_is_there_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    def nothing(*command: str, timeout: float = 5.0) -> str:
        raise NoAnswer(f"{command[0]}: No such file or directory")

    monkeypatch.setattr(host_health, "output", nothing)
    monkeypatch.setenv("DS01_GATE_SOCKET", str(tmp_path / "none"))
    found = examine(Checks(Places(**{name: f"{tmp_path}/none" for name in Places.__annotations__ if name != "disks"}, disks=())).all())
    assert exit_code(found) == 2
    assert {one.part for one in found} == set(Checks().all())


def test_what_hangs_holds_up_nobody(world: World, checks: Checks) -> None:
    world.remove("docker.sock")
    never = threading.Event()
    with hanging_socket(str(world.directory / "docker.sock")):
        begun = time.monotonic()
        found = examine({**checks.all(), "MIG": lambda: [ok("MIG", str(never.wait(60)))]}, wait_s=0.5)
        assert time.monotonic() - begun < 30
    never.set()
    late = {one.part for one in found if "did not answer within 0.5 s" in one.what}
    assert late == {"guard", "claims", "MIG"}
    assert all(one.level is Level.FAIL and one.next_step for one in found if one.part in late)


@pytest.mark.parametrize(
    ("levels", "code"),
    [([], 0), ([Level.OK, Level.ABSENT], 0), ([Level.OK, Level.WARN], 1), ([Level.WARN, Level.FAIL, Level.OK], 2)],
)
def test_exit_codes(levels: list[Level], code: int) -> None:
    assert exit_code(Finding("x", level, "") for level in levels) == code


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        (DiskFacts("/", 100, 50, 100, 50), Level.OK),
        (DiskFacts("/", 100, 9, 100, 50), Level.WARN),
        (DiskFacts("/", 100, 2, 100, 50), Level.FAIL),
        (DiskFacts("/", 100, 50, 100, 2), Level.FAIL),
        (DiskFacts("/", 100, 50, 0, 0), Level.OK),
        (DiskFacts("/", 100, 50, 100, 50, read_only=True), Level.FAIL),
    ],
)
def test_disks(facts: DiskFacts, level: Level) -> None:
    (found,) = disks([facts])
    assert found.level is level


def test_the_table_and_what_to_do() -> None:
    findings = [ok("gate", "answers"), warn("clock", "is late\x1b[2J", "set it"), fail("disk", "/ is full", "make room")]
    text = render(findings, problems_only=False)
    assert text.splitlines()[1].split() == ["ok", "gate", "answers"]
    assert "  clock: set it\n  disk: make room" in text
    assert "1 failed, 1 to look at, 1 well" in text
    assert "\x1b" not in text
    assert "answers" not in render(findings, problems_only=True)
    assert render([ok("gate", "answers")], problems_only=True) == "All is well."


def test_json_and_the_exit_code_for_scripts(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    world.listed["--state=failed"].append("ds01-mig.service")
    monkeypatch.setattr(health_command, "Checks", lambda: Checks(world.places()))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert main(["health", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["exit_code"], told["complete"]) == (2, True)
    (bad,) = [one for one in told["findings"] if one["level"] == "fail"]
    assert (bad["part"], bool(bad["next"])) == ("units", True)


def test_people_see_their_part_and_are_told_so(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(health_command, "Checks", _over(world))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["health"]) == 0
    out = capsys.readouterr().out
    assert "gate" in out and "sudo ds01 health" in out
    assert "guard" not in out and "claims" not in out


def _over(world: World) -> type[Checks]:
    class Here(Checks):
        def __init__(self) -> None:
            super().__init__(world.places())

    return Here
