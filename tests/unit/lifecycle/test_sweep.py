# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The sweep as the timer runs it, against a dockerd that answers from a script: what reaches dockerd, the event log and the person."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ds01_lifecycle import effects, look, sweep

from ds01 import keep_alive
from ds01.docker_upstream import DaemonUnavailable, DockerClient

from .lifecycle_world import POLICY, UID, World, world


@pytest.fixture
def host(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def test_an_idle_container_is_warned_stopped_and_told_of_and_removed_after_its_hold(host: World) -> None:
    container = host.container(1)
    host.minutes(16)
    assert host.said() == [("lifecycle.warned", "job1", "idle")]
    notice = host.root / "inside/1/dev/shm/ds01-notice"
    assert "job1 has been idle for 15m" in notice.read_text()
    assert "will be stopped in 15m" in host.inbox()[-1]
    host.minutes(15)
    assert f"POST /containers/{container}/stop?t=60" in host.dockerd.calls
    stopped = host.events()[-1]
    assert (stopped["kind"], stopped["user"], stopped["details"]["after_s"], stopped["details"]["limit_s"]) == (
        "lifecycle.stopped",
        "student1",
        1800,
        1800.0,
    )
    assert "was idle for 30m (limit 30m)" in host.inbox()[-1]
    assert "docker start job1" in host.inbox()[-1]
    host.minutes(62)
    assert host.said()[-1] == ("lifecycle.removed", "job1", "stopped for long")
    assert not host.dockerd.containers


def test_a_hundred_containers_cost_one_call_and_less_than_two_seconds(host: World) -> None:
    for number in range(100):
        host.container(number)
    host.sweep()
    host.dockerd.calls.clear()
    host.uptime += 60
    before = time.process_time()
    host.sweep()
    spent = time.process_time() - before
    assert host.dockerd.calls == ["GET /containers/json?all=1"]
    assert spent < 2.0
    assert len(json.loads((host.places.outlook / f"{UID}.json").read_text())["containers"]) == 100


def test_one_slow_and_one_broken_container_do_not_hold_up_the_others(host: World, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, broken, good = (host.container(number) for number in (1, 2, 3))
    host.dockerd.slow, host.dockerd.broken = {slow}, {broken}
    monkeypatch.setattr(effects.all_at_once, "__defaults__", (1.0,))
    host.minutes(31)
    assert host.dockerd.containers[good]["State"] == "exited"
    said = host.said()
    assert ("lifecycle.stopped", "job3", "idle") in said
    assert ("lifecycle.failed", "job2", "stop") in said
    assert ("lifecycle.stopped", "job1", "idle") not in said, "said before it was so"
    host.minutes(1)
    asked = [call for call in host.dockerd.calls if call.startswith(f"POST /containers/{slow}")]
    assert len(asked) == 1, "dockerd was asked again while it was at it"
    assert len([call for call in host.dockerd.calls if call.startswith(f"POST /containers/{broken}")]) == 2
    host.dockerd.containers[slow]["State"] = "exited"
    host.minutes(1)
    assert ("lifecycle.stopped", "job1", "idle") in host.said()


def test_containers_in_use_by_any_signal_are_left_alone(host: World) -> None:
    for number in range(1, 6):
        host.container(number)
    gpu = {"uuid": "GPU-1", "index": 0, "answers": True, "busy_percent": 40.0}
    work = {"container_id": f"{3:064x}", "gpus": [{"uuid": "GPU-1"}], "processes": [{}]}
    keep = host.root / "inside/4/workspace"
    keep.mkdir(parents=True)
    (keep / ".keep-alive").touch()
    host.now = time.time()
    host.inventory([work], [gpu])
    cpu, network = 1.0, 1234
    for _ in range(40):
        cpu, network = cpu + 3.0, network + 61 * 10240
        scope = host.root / f"cgroup/ds01.slice/ds01-u{UID}.slice/ds01-u{UID}-nogpu.slice"
        (scope / f"docker-{1:064x}.scope/cpu.stat").write_text(f"usage_usec {int(cpu * 1e6)}\n")
        (host.root / "proc/1002/net/dev").write_text(f"a\nb\n  eth0: {network} 5\n    lo: 0 0\n")
        host.minutes(1)
    stopped = {name for kind, name, _ in host.said() if kind == "lifecycle.stopped"}
    assert stopped == {"job5"}


def test_files_that_do_not_answer_hold_up_nobody_and_make_nobody_idle(host: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hung, good = (host.container(number) for number in (1, 2))
    forever, age = threading.Event(), keep_alive.keep_alive_age

    def ask(pid: int, container_id: str, *rest: Any) -> float | None:
        if container_id == hung:
            forever.wait(60)  # as a stat(2) on a network filesystem whose server is down
        return age(pid, container_id, *rest)

    monkeypatch.setattr(keep_alive, "keep_alive_age", ask)
    monkeypatch.setattr(keep_alive.keep_alive_ages, "__defaults__", ("/proc", 0.05))
    host.minutes(16, 150.0)
    forever.set()
    assert ("lifecycle.stopped", "job2", "idle") in host.said()
    assert ("lifecycle.unknown", "job1", "") in host.said()
    assert host.dockerd.containers[hung]["State"] == "running"
    assert host.dockerd.containers[good]["State"] == "exited"


def test_a_container_that_cannot_be_looked_at_holds_up_nobody_and_is_not_forgotten(host: World, monkeypatch: pytest.MonkeyPatch) -> None:
    odd, good = (host.container(number) for number in (1, 2))
    host.minutes(20)
    assert sorted(host.said()) == [("lifecycle.warned", "job1", "idle"), ("lifecycle.warned", "job2", "idle")]
    whole = look.life

    def life(cgroup: str, *rest: Any) -> Any:
        if odd in cgroup:
            raise ValueError("of another shape")
        return whole(cgroup, *rest)

    monkeypatch.setattr(look, "life", life)
    host.minutes(12)
    assert host.dockerd.containers[good]["State"] == "exited" and host.dockerd.containers[odd]["State"] == "running"
    monkeypatch.setattr(look, "life", whole)
    host.minutes(12)
    assert host.dockerd.containers[odd]["State"] == "exited"
    assert host.said().count(("lifecycle.warned", "job1", "idle")) == 1, "its warning was forgotten"


def test_no_process_is_signalled_and_no_gpu_touched_by_the_sweeps() -> None:
    root = Path(__file__).resolve().parents[3]
    rights = (root / "roles/lifecycle/templates/ds01-lifecycle.service.j2").read_text()
    bound = next(line for line in rights.splitlines() if line.startswith("CapabilityBoundingSet="))
    assert "CAP_KILL" not in bound and "CAP_SYS_PTRACE" in bound and "NoNewPrivileges=yes" in rights
    loaded = "import sys, ds01_lifecycle.__main__; print(*[n for n in sys.modules if 'nvml' in n or n in ('signal', 'pynvml')])"
    paths = f"{root / '.cache/lib'}:{root / 'files'}"
    done = subprocess.run([sys.executable, "-S", "-c", loaded], env={"PYTHONPATH": paths}, capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.split() if name != "signal"] == []
    for path in (root / "files/ds01_lifecycle").glob("*.py"):
        assert "os.kill" not in path.read_text() and "pidfd_send_signal" not in path.read_text(), path


def test_a_dockerd_that_hangs_ends_the_sweep_and_nothing_is_done_or_forgotten(host: World, monkeypatch: pytest.MonkeyPatch) -> None:
    host.container(1)
    host.minutes(20)
    before = Path(host.places.volatile).read_bytes()
    monkeypatch.setattr(sweep, "DockerClient", partial(DockerClient, timeout=0.1))
    host.dockerd.silent = True
    for _ in range(2):
        with pytest.raises(DaemonUnavailable):
            host.minutes(1)
    assert Path(host.places.volatile).read_bytes() == before
    host.dockerd.silent = False
    host.dockerd.release.set()
    host.minutes(12)
    assert host.said() == [("lifecycle.warned", "job1", "idle"), ("lifecycle.stopped", "job1", "idle")]


def test_when_the_watcher_is_silent_nothing_is_idle(host: World) -> None:
    host.container(1)
    for _ in range(60):
        host.uptime += 60
        host.sweep()
    assert host.said() == [("lifecycle.unknown", "job1", "")], "said once"
    assert host.events()[0]["details"]["for_s"] == 900


def test_labels_of_infrastructure_count_only_where_root_made_the_container(host: World) -> None:
    host.container(1, **{"ds01.protected": "true", "ds01.uid": "", "ds01.user": "", "ds01.kind": ""})
    host.container(2, **{"ds01.protected": "true"})
    host.container(3, **{"ds01.uid": "", "ds01.user": "", "ds01.kind": ""})
    host.minutes(32)
    assert {name for kind, name, _ in host.said() if kind == "lifecycle.stopped"} == {"job2", "job3"}
    nobody = next(one for one in host.events() if one.get("container") == "job3")
    assert nobody["details"]["kind"] == "unknown" and "user" not in nobody


def test_each_kind_goes_by_its_own_setting(host: World) -> None:
    policy = copy.deepcopy(POLICY)
    policy["kinds"] = {
        "devcontainer": {"lifecycle": {"idle": None}},
        "compose": {"lifecycle": {"idle": "1h"}},
        "unknown": {"lifecycle": {"idle": "15m"}},
    }
    host.policy(policy)
    for number, kind in enumerate(("docker", "devcontainer", "compose", "ds01"), 1):
        host.container(number, **{"ds01.kind": kind})
    host.container(5, **{"ds01.uid": "", "ds01.user": "", "ds01.kind": ""})
    when: dict[str, int] = {}
    for minute in range(70):
        host.minutes(1)
        for kind, name, _ in host.said():
            if kind == "lifecycle.stopped":
                when.setdefault(name, minute)
    assert when == {"job5": 16, "job1": 30, "job4": 30, "job3": 60}


def test_a_full_disk_stops_nothing_that_was_not_remembered(host: World, monkeypatch: pytest.MonkeyPatch) -> None:
    host.container(1)
    host.minutes(29)
    from ds01_lifecycle import memory

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(memory, "save", full)
    with pytest.raises(OSError, match="No space"):
        host.minutes(5)
    assert not [call for call in host.dockerd.calls if call.startswith("POST")]


def test_a_stop_is_not_called_off_by_a_sweep_that_could_not_remember_it(host: World, monkeypatch: pytest.MonkeyPatch) -> None:
    host.container(1)
    host.minutes(20)
    from ds01_lifecycle import memory

    save = memory.save
    monkeypatch.setattr(memory, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    (host.root / "proc/1001/net/dev").write_text("a\nb\n  eth0: 99999999999 5\n")
    with pytest.raises(OSError, match="No space"):
        host.minutes(1)
    assert [kind for kind, _, _ in host.said()] == ["lifecycle.warned"]
    monkeypatch.setattr(memory, "save", save)
    host.minutes(1)
    assert [kind for kind, _, _ in host.said()] == ["lifecycle.warned", "lifecycle.withdrawn"]
    assert "will not be stopped" in host.inbox()[-1]


def test_what_lies_ahead_is_published_for_its_owner_alone_and_a_forecast_changes_nothing(host: World) -> None:
    host.container(1)
    host.minutes(3)
    own = host.places.outlook / f"{UID}.json"
    assert own.stat().st_mode & 0o777 == 0o400
    if os.geteuid() == 0:
        assert own.stat().st_uid == UID
    before = Path(host.places.volatile).read_bytes()
    host.dockerd.containers.clear()
    host.minutes(1)
    assert not own.exists()
    assert before != Path(host.places.volatile).read_bytes()
