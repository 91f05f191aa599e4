# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The watcher beside a real dockerd: it sees containers that went around the gate at once, and a dockerd that blinks ends nothing."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.daemons import REPOSITORY, Daemon, running, wait_until
from tests.integration.lab import Lab
from tests.integration.watch.watch_process import WatchProcess, watch_beside
from tests.simulated_gpu import SimulatedGpus, simulated_gpus

AT_ONCE_S = 2.0
"""How old the inventory may be about a container that can open a GPU."""
Start = Callable[..., None]


@pytest.fixture(scope="module")
def directory(lab: Lab) -> Path:
    """What belongs to these tests."""
    made = lab.path / "watch"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def daemon(lab: Lab, directory: Path) -> Iterator[Daemon]:
    """The older engine; its containers outlive it, as on the servers."""
    (directory / "cdi").mkdir()
    with running("trixie", directory, directory / "cdi", **{"live-restore": True}) as daemon:
        daemon.import_image("busybox:latest", lab.image)
        yield daemon


@pytest.fixture(scope="module")
def gpus(directory: Path) -> SimulatedGpus:
    """Two GPUs."""
    return simulated_gpus(directory, ["a100-40gb", "h100-80gb"])


@pytest.fixture(scope="module")
def watch(directory: Path, daemon: Daemon, gpus: SimulatedGpus) -> Iterator[WatchProcess]:
    """The watcher."""
    with watch_beside(directory, daemon, gpus) as process:
        yield process


@pytest.fixture
def start(lab: Lab, daemon: Daemon, watch: WatchProcess) -> Iterator[Start]:
    """``start("name", *options)``: a running container, made on dockerd's own socket; removed afterwards."""
    made: list[str] = []

    def docker(*arguments: str) -> None:
        done = lab.run(daemon.socket, None, *arguments)
        assert done.returncode == 0, done.stderr

    def run(name: str, *options: str) -> None:
        made.append(name)
        docker("run", "-d", "--name", name, "--network", "none", *options, "busybox", "sleep", "600")

    yield run
    docker("rm", "-f", *made)
    wait_until(lambda: not any(watch.workload(name) for name in made), AT_ONCE_S, "the end of the workloads in the inventory")


@pytest.fixture(scope="module")
def gpu_node(directory: Path) -> Path:
    """The device node of the second GPU."""
    path = directory / "nvidia1"
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(195, 1))
    return path


def test_a_privileged_container_is_seen_at_once(watch: WatchProcess, start: Start) -> None:
    start("everything", "--privileged")
    wait_until(lambda: watch.workload("everything") is not None, AT_ONCE_S, "the privileged container in the inventory")
    found = watch.workload("everything")
    assert found is not None
    assert (found["kind"], found["tracked"], found["privileged"], found["every_gpu"]) == ("raw", False, True, True)
    assert [gpu["index"] for gpu in found["gpus"]] == [0, 1]

    def said() -> int:
        return sum(event["container"] == "everything" for event in watch.events("workload.seen"))

    wait_until(lambda: said() > 0, AT_ONCE_S, "the container in the event log")
    assert said() == 1


def test_a_device_given_by_hand_is_seen_at_once(watch: WatchProcess, start: Start, gpu_node: Path) -> None:
    start("byhand", "--device", f"{gpu_node}:/dev/nvidia1")
    wait_until(lambda: watch.workload("byhand") is not None, AT_ONCE_S, "the container with a device in the inventory")
    found = watch.workload("byhand")
    assert found is not None
    assert (found["kind"], found["privileged"], found["every_gpu"], found["claim"]) == ("raw", False, False, None)
    assert [(gpu["index"], gpu["profile"]) for gpu in found["gpus"]] == [(1, None)]


def test_a_container_without_a_gpu_is_no_workload(watch: WatchProcess, start: Start) -> None:
    start("plain")
    start("marker", "--privileged")
    wait_until(lambda: watch.workload("marker") is not None, AT_ONCE_S, "the later container in the inventory")
    assert watch.workload("plain") is None


def test_a_dockerd_that_was_away_ends_nothing(watch: WatchProcess, start: Start, daemon: Daemon) -> None:
    start("survivor", "--privileged")
    wait_until(lambda: watch.workload("survivor") is not None, AT_ONCE_S, "the container in the inventory")
    seen = len(watch.events("workload.seen"))
    daemon.stop()
    wait_until(lambda: not watch.source_answers("docker"), 10, "word that dockerd is away")
    assert watch.workload("survivor") is not None, "it was forgotten while dockerd is away"
    assert 'ds01_source_up{source="docker"} 0.0' in watch.metrics()
    daemon.start()
    wait_until(lambda: watch.source_answers("docker"), 20, "word that dockerd is back")
    found = watch.workload("survivor")
    assert found is not None
    assert found["running"] is True
    ends = [event for kind in ("container.die", "container.remove") for event in watch.events(kind)]
    assert [event for event in ends if event["container"] == "survivor"] == []
    assert len(watch.events("workload.seen")) == seen, "what was known is told as new"

    def told() -> list[str]:
        states = [event["details"] for event in watch.events("health.changed")]
        return [details["state"].partition(":")[0] for details in states if details["part"] == "docker"][-2:]

    wait_until(lambda: told() == ["away", "ok"], 10, "word of the gap in the event log, which comes after the inventory")


def test_what_ended_while_dockerd_was_away_is_noticed(watch: WatchProcess, start: Start, daemon: Daemon, lab: Lab) -> None:
    start("ended", "--privileged")
    wait_until(lambda: watch.workload("ended") is not None, AT_ONCE_S, "the container in the inventory")
    pid = lab.run(daemon.socket, None, "inspect", "-f", "{{.State.Pid}}", "ended").stdout.strip()
    daemon.stop(signal.SIGKILL)
    wait_until(lambda: not watch.source_answers("docker"), 10, "word that dockerd is away")
    subprocess.run(daemon.inside("kill", "-9", pid), check=True)
    daemon.start()

    def stopped() -> bool:
        found = watch.workload("ended")
        return watch.source_answers("docker") and (found is None or not found["running"])

    wait_until(stopped, 20, "the end of the container in the inventory")


def test_metrics_are_as_prometheus_wants_them(watch: WatchProcess, start: Start) -> None:
    start("measured", "--privileged")
    wait_until(lambda: watch.workload("measured") is not None, AT_ONCE_S, "the container in the inventory")
    tree = subprocess.run([str(REPOSITORY / "dev" / "monitoring-tree")], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    text = watch.metrics()
    promtool = Path(tree) / "usr" / "bin" / "promtool"
    done = subprocess.run([str(promtool), "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = text.splitlines()
    assert 'ds01_source_up{source="docker"} 1.0' in lines
    assert 'ds01_source_up{source="gpu"} 1.0' in lines
    assert len([line for line in lines if line.startswith("ds01_gpu_healthy{") and line.endswith(" 1.0")]) == 2
    assert sum(float(line.split()[-1]) for line in lines if line.startswith('ds01_workloads{kind="raw"')) >= 1
