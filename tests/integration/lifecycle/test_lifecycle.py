# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Lives of containers on a real dockerd with minutes as seconds: warned and stopped as promised, seen as their owner sees it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

import pytest

from ds01.core.exemption_grants import Granted
from ds01.docker_upstream import DockerClient
from ds01.exemption_file import ExemptionFile
from tests.integration.daemons import Daemon
from tests.integration.gate.gate_process import GateProcess, gate_before
from tests.integration.gate.people import Desk
from tests.integration.lab import Lab, Person

from .host import WARNING_S, Sweeps, fast_policy, one_binary, seconds_between, terminal

SLEEP = ("busybox", "sleep", "600")
WORK = ("busybox", "sh", "-c", "while :; do i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; sleep 0.2; done")
_NUMBERS = itertools.count()
READ = "until /busybox cat /dev/shm/ds01-notice 2>&-; do /busybox sleep 1; done; /busybox sleep 600"


@pytest.fixture(scope="module")
def people(lab: Lab) -> dict[str, Person]:
    """carol, dave, and who waits."""
    return {name: lab.add_person(name, uid, "docker") for name, uid in (("carol", 5201), ("dave", 5202))}


@pytest.fixture(scope="module")
def daemon(lab: Lab, daemon_of: Callable[[str], Daemon]) -> Daemon:
    """A daemon with two images: busybox, and a single static binary."""
    found = daemon_of("sid")
    found.import_image("binary:latest", one_binary(lab.path / "binary.tar", lab.image))
    return found


@pytest.fixture
def gate(lab: Lab, people: dict[str, Person], daemon: Daemon) -> Iterator[GateProcess]:
    """A gate of each test's own, and a clean daemon afterwards."""
    with gate_before(lab, daemon, f"life{next(_NUMBERS)}", fast_policy(lab)) as process:
        yield process
        root = DockerClient(str(daemon.socket))
        for container in root.call("GET", "/containers/json?all=1"):
            root.call("DELETE", f"/containers/{container['Id']}?force=1&v=1")


@pytest.fixture
def sweeps(lab: Lab, gate: GateProcess, daemon: Daemon) -> Iterator[Sweeps]:
    """The sweeps; a test starts them."""
    made = Sweeps(lab, gate, daemon)
    yield made
    made.kill()


@pytest.fixture
def carol(gate: GateProcess, people: dict[str, Person]) -> Desk:
    """carol at the gate."""
    return Desk(gate, people["carol"])


@pytest.fixture
def dave(gate: GateProcess, people: dict[str, Person]) -> Desk:
    """dave at the gate."""
    return Desk(gate, people["dave"])


def state(daemon: Daemon, name: str) -> str:
    """Docker's word for a container; empty when it is gone."""
    found = DockerClient(str(daemon.socket)).find(f"/containers/{name}/json")
    return "" if found is None else str(found["State"]["Status"])


def test_every_kind_ends_as_promised_and_the_next_gets_the_gpu(
    sweeps: Sweeps, carol: Desk, dave: Desk, people: dict[str, Person], daemon: Daemon, lab: Lab
) -> None:
    root = DockerClient(str(daemon.socket))
    with terminal(people["carol"]) as own, terminal(people["dave"]) as others:
        for number in range(4):  # every GPU there is
            carol.must("run", "-d", "--gpus", "2", "--name", f"train{number}", *SLEEP)
        carol.must("run", "-d", "--name", "tiny", "--label", "ds01.keep=true", "binary", "/busybox", "sh", "-c", READ)
        carol.must("run", "-d", "--name", "works", *WORK)
        carol.must("run", "-d", "--name", "kept", "busybox", "sh", "-c", "mkdir /workspace && touch /workspace/.keep-alive && sleep 600")
        carol.must("run", "-d", "--name", "stack", "--label", "com.docker.compose.project=p", *SLEEP)
        carol.must("run", "-d", "--name", "editor", "--label", "devcontainer.local_folder=/x", *SLEEP)
        carol.must("create", "--name", "never", *SLEEP)
        carol.must("run", "--name", "done", "busybox", "true")
        carol.must("run", "--name", "finished", "--label", "ds01.keep=true", "busybox", "true")
        stranger = {"Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": {"NetworkMode": "none"}}
        root.call("POST", "/containers/create?name=stranger", stranger)
        root.call("POST", "/containers/stranger/start")
        waiting = dave.start("run", "-d", "--gpus", "2", "--label", "ds01.gpu.wait=2m", "--name", "patient", *SLEEP)
        sweeps.until(lambda: len(dave.ask("GET", "/ds01/v1/queue").json["entries"]) == 1, 20, "the entry of the start that waits")
        now = time.time()
        ExemptionFile(str(sweeps.exemptions)).write((Granted("dave", "patient", ("idle",), now + 3600, "thesis", "root", now),))
        sweeps.start()
        ended = {"train0", "train1", "train2", "train3", "tiny", "stack", "stranger"}
        sweeps.until(lambda: all("stopped" in dict(sweeps.said(name)) for name in ended), 60, f"the ends of {ended}")
        inside = carol.must("logs", "tiny")
        assert "Container tiny has been idle for" in inside and "will be stopped in" in inside
        waiting.communicate(timeout=40)
        assert waiting.returncode == 0 and state(daemon, "patient") == "running", "the next in the queue did not get the GPU"
        sweeps.until(lambda: "" == state(daemon, "never") == state(daemon, "done"), 30, "the removal of what does not run")
        sweeps.until(lambda: any("It is your turn" in text for text in sweeps.inbox(people["dave"])), 20, "word of the turn")
        shown = own.read()
        assert "tiny" not in others.read()
    for name in sorted(ended - {"stranger"}):
        why = "runtime" if name == "stack" else "idle"
        warned = next(one for one in sweeps.events(name) if one["kind"] == "lifecycle.warned")
        stopped = next(one for one in sweeps.events(name) if one["kind"] == "lifecycle.stopped")
        assert (warned["details"]["why"], stopped["details"]["why"]) == (why, why)
        assert seconds_between(warned, stopped) >= (4.0 if name == "stack" else WARNING_S) - 0.1, name
        assert warned["user"] == "carol"
        assert f"Container {name} " in shown and "was stopped at" in shown
    assert "user" not in sweeps.events("stranger")[0], "nobody's container has got an owner"
    for name in ("works", "kept", "editor"):
        assert state(daemon, name) == "running", name
    assert state(daemon, "finished") == "exited"
    inbox = "\n".join(sweeps.inbox(people["carol"]))
    for part in ("never was removed", "was never started", "done was removed", "stack has run for"):
        assert part in inbox, part
    assert "tiny" not in "\n".join(sweeps.inbox(people["dave"]))


def test_exempt_for_a_while_then_a_drain_and_sweeps_that_are_killed_keep_what_was_promised(
    sweeps: Sweeps, carol: Desk, gate: GateProcess, daemon: Daemon
) -> None:
    now = time.time()
    sweeps.start()
    ExemptionFile(str(sweeps.exemptions)).write((Granted("carol", "spared", ("idle",), now + 3600, "thesis", "root", now),))
    carol.must("run", "-d", "--name", "spared", *SLEEP)
    carol.must("run", "-d", "--name", "idler", *SLEEP)

    def rough(name: str, what: str) -> None:
        """Kill the sweeps again and again until they have nevertheless done it."""

        def done() -> bool:
            sweeps.kill()
            before = sweeps.looked_at
            sweeps.start()
            sweeps.until(lambda: sweeps.looked_at != before, 20, "a sweep")
            return what in dict(sweeps.said(name))

        sweeps.until(done, 60, f"{name}: {what}")

    rough("idler", "warned")
    # From here on they live: a death between remembering a stop and asking for it costs a minute (unit/lifecycle/test_deaths.py).
    sweeps.until(lambda: "stopped" in dict(sweeps.said("idler")), 100, "the stop")
    warned = [one for one in sweeps.events("idler") if one["kind"] == "lifecycle.warned"]
    stopped = next(one for one in sweeps.events("idler") if one["kind"] == "lifecycle.stopped")
    assert seconds_between(warned[0], stopped) >= WARNING_S - 0.1
    assert state(daemon, "spared") == "running" and sweeps.said("spared") == []
    drain = time.time() + 6
    (gate.state / "maintenance.json").write_text(
        f'{{"v": 1, "begins": {now}, "until": null, "message": "new kernel", "by": "root", "set_at": {time.time()}, "drain_by": {drain}}}'
    )
    refused = carol.docker("run", "--rm", *SLEEP)
    assert refused.returncode == 125 and "new kernel" in refused.stderr
    sweeps.until(lambda: ("stopped", "maintenance") in sweeps.said("spared"), 40, "the end of the drain")
    assert ("warned", "maintenance") in sweeps.said("spared")
    assert time.time() >= drain
