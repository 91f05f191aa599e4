# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Twenty people start and stop containers with GPUs while gate, splice program, watcher and dockerd are killed at random.

``CHAOS_STARTS=2000`` makes it as long as that (``make chaos``), ``CHAOS_SEED`` repeats an order of things.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ds01.docker_upstream import DaemonRefused, DockerClient
from tests.integration.daemons import Daemon, running, wait_until
from tests.integration.gate.chaos_mob import Tally, Worker
from tests.integration.gate.chaos_terminals import Terminals
from tests.integration.gate.chaos_watcher import Story, inventory_differs, running_now
from tests.integration.gate.chaos_witness import Witness, claims, running_nodes
from tests.integration.gate.conftest import STUDENTS
from tests.integration.gate.gate_process import GateProcess, policy
from tests.integration.gate.people import Desk
from tests.integration.lab import Lab, Person
from tests.integration.watch.watch_process import WatchProcess, watch_beside
from tests.simulated_gpu import simulated_gpus
from tests.slices_on_disk import SlicesOnDisk

STARTS = int(os.environ.get("CHAOS_STARTS", "40"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
TERMINALS = 4
PROGRAMS = ("gate", "splice", "dockerd", "watch")
LOST_WITH_DOCKERD = 3
_GAP = (10, 30) if STARTS >= 400 else (4, 10)
"""So many starts from one kill to the next."""
_ENDINGS = ("ended", "released", "undone", "hold_over")
_PROGRAM = Path(__file__).with_name("gate_with_slices.py")


@pytest.fixture(scope="module")
def place(lab: Lab) -> Path:
    """A directory of this test's own."""
    directory = lab.path / "chaos"
    (directory / "cdi").mkdir(parents=True)
    return directory


@pytest.fixture(scope="module")
def daemon(lab: Lab, place: Path) -> Iterator[Daemon]:
    """A dockerd that may be killed, configured as the role does: containers live on without it."""
    with running("sid", place, place / "cdi", **{"live-restore": True}) as daemon:
        daemon.import_image("busybox:latest", lab.image)
        yield daemon


@pytest.fixture(scope="module")
def slices(place: Path) -> SlicesOnDisk:
    """What the gate opened and closed."""
    return SlicesOnDisk(place / "slices")


@pytest.fixture(scope="module")
def gate(lab: Lab, daemon: Daemon, people: dict[str, Person], slices: SlicesOnDisk) -> Iterator[GateProcess]:
    """The gate in front of it."""
    process = GateProcess(lab, daemon, "chaos", (sys.executable, str(_PROGRAM), str(slices.directory)))
    try:
        yield process.open(policy(lab))
    finally:
        process.close()


@pytest.fixture(scope="module")
def watch(place: Path, daemon: Daemon, gate: GateProcess) -> Iterator[WatchProcess]:
    """The watcher beside it; its GPUs are none of those that the gate gives away, and nobody works on them."""
    directory = place / "watch"
    directory.mkdir()
    with watch_beside(directory, daemon, simulated_gpus(directory), claims_lock=gate.state / "claims.lock") as process:
        yield process


class Killer:
    """Kills with signal 9 and starts again, a program drawn by lot after some starts of the mob; first each of them once.

    Not a thread of its own: what a thread starts ends with it (``die_with_parent``).
    """

    def __init__(self, gate: GateProcess, watch: WatchProcess, lot: random.Random) -> None:
        self._gate = gate
        self._watch = watch
        self._lot = lot
        self._first = lot.sample(PROGRAMS, len(PROGRAMS))
        self.killed: Counter[str] = Counter()

    @property
    def carriers(self) -> int:
        """How often something was killed that a terminal cannot outlive."""
        return self.killed["splice"] + self.killed["dockerd"]

    def run(self, tally: Tally, terminals: Terminals, workers: list[Worker]) -> None:
        """Until the workers have ended."""
        due = tally.starts
        while any(worker.is_alive() for worker in workers):
            next((worker for worker in workers if worker.is_alive()), workers[0]).join(0.3)
            terminals.speak()
            if tally.starts >= due:
                self._kill(self._first.pop() if self._first else self._drawn(), terminals)
                terminals.speak()
                terminals.reopen()
                due = tally.starts + self._lot.randint(*_GAP)

    def _drawn(self) -> str:
        return self._lot.choices((*PROGRAMS, "gate+dockerd"), (60, 12, 12, 10, 6))[0]

    def _kill(self, which: str, terminals: Terminals) -> None:
        gate, parts = self._gate, which.split("+")
        self.killed.update(parts)
        if "splice" in parts:
            gate.stop_splice()
            gate.start_splice()
        if "watch" in parts:
            # A dockerd that starts anew forgets its events, and a watcher that starts anew has no table to conclude from.
            wait_until(lambda: self._watch.source_answers("docker"), 20, "the watcher's way back to dockerd")
            self._watch.kill()
            self._watch.start()
        if "gate" in parts:
            gate.kill()
        if "dockerd" in parts:
            gate.daemon.stop(signal.SIGKILL)
            gate.daemon.start()
        if "gate" in parts:
            terminals.speak()
            gate.start()


def test_chaos(gate: GateProcess, daemon: Daemon, slices: SlicesOnDisk, people: dict[str, Person], watch: WatchProcess) -> None:
    lot = random.Random(SEED)
    tally, killer, witness = Tally(STARTS), Killer(gate, watch, lot), Witness(daemon)
    terminals = Terminals([Desk(gate, people[f"s{n}"]) for n in range(TERMINALS)], lambda: killer.carriers)
    terminals.open()
    resting = _open_descriptors(gate)
    workers = [Worker(Desk(gate, people[f"s{n}"]), tally, lot.randrange(1 << 30)) for n in range(STUDENTS)]
    began = time.monotonic()
    for thread in (witness, *workers):
        thread.start()
    killer.run(tally, terminals, workers)
    _report(tally, killer, witness, terminals, time.monotonic() - began)
    for thread in (witness, *workers):
        if thread.failure is not None:
            raise thread.failure

    _claims_become_those_of_the_running(gate, daemon, slices)
    witness.stop()
    assert witness.doubles == []
    assert terminals.lost == []
    terminals.close()
    assert tally.unexpected() == []
    assert gate.events("exception") == []
    _everything_is_explained(gate, witness, killer)
    assert set(killer.killed) == set(PROGRAMS)
    _the_watcher_knows_who_runs(watch, daemon, terminals)

    _nothing_is_left_when_all_is_removed(gate, daemon, slices)
    _the_watcher_knows_how_each_ended(watch, tally, killer)
    wait_until(lambda: _open_descriptors(gate) <= resting, 15, f"closing of what the gate has open ({_open_descriptors(gate)})")
    Desk(gate, people["s0"]).must("run", "--rm", "--gpus", "2", "--network", "none", "busybox", "true")


def _report(tally: Tally, killer: Killer, witness: Witness, terminals: Terminals, spent: float) -> None:
    """For whoever reads the output of a long run (-s)."""
    sys.stdout.write(
        f"\nchaos seed {SEED}: {tally.starts} starts asked, {tally.started} started in {spent:.0f} s; killed {dict(killer.killed)};\n"
        f"  {witness.looks} looks, {len(witness.seen)} claims seen, doubles {witness.doubles};\n"
        f"  terminals: {terminals.rounds} rounds of {TERMINALS}, ended with their carrier {terminals.ended_with_carrier},"
        f" lost {terminals.lost};\n"
    )
    for (what, status), count in sorted(tally.answers.items()):
        sys.stdout.write(f"  {what:<8} {status or 'cut off':<8} {count}\n")
        for message, times in tally.messages.get((what, status), Counter()).most_common(4):
            sys.stdout.write(f"      {times} x {message}\n")


def _claims_become_those_of_the_running(gate: GateProcess, daemon: Daemon, slices: SlicesOnDisk) -> None:
    """Claims, open slices, dockerd's word and the kernel's agree."""
    root = DockerClient(str(daemon.socket))

    def views() -> dict[str, Any]:
        table = claims(daemon.cdi_dir)
        said = [one for one in root.call("GET", "/containers/json") if "ds01.claim" in one["Labels"]]
        return {
            "claims": {claim["container_id"]: claim["nodes"] for claim in table.values()},
            "kernel": {identity: nodes for identity, nodes in running_nodes(daemon).items() if nodes},
            "claimed": set(table),
            "dockerd": {one["Labels"]["ds01.claim"] for one in said},
            "slices": {claim for _, claim in slices.claim_slices()},
        }

    def agree() -> bool:
        seen = views()
        return seen["claims"] == seen["kernel"] and seen["claimed"] == seen["dockerd"] == seen["slices"]

    try:
        wait_until(agree, 40, "claims of exactly the running containers, with the devices that these have")
    except TimeoutError:
        pytest.fail(f"claims, containers and slices still differ: {views()}")


def _everything_is_explained(gate: GateProcess, witness: Witness, killer: Killer) -> None:
    """Each claim that was seen was logged as granted or found again; each that is gone, as ended.

    A gate that is killed between a deed and its line leaves that one line out: no more of them than kills.
    """
    begun, ended, events = set(), set(), gate.events()
    for event in events:
        if event["event"] == "granted":
            begun.add(event["claim"])
            ended.discard(event["claim"])
        elif event["event"] in _ENDINGS:
            ended.add(event["claim"])
        elif event["event"] == "reconciled":
            begun |= set(event["dropped"]) | set(event["resumed"])
            ended |= set(event["dropped"])
    present = set(claims(gate.daemon.cdi_dir))
    without_beginning = witness.seen - begun
    without_end = begun - ended - present
    sys.stdout.write(f"  lines cut off by kills: {len(without_beginning)} grants, {len(without_end)} ends\n")
    assert len(without_beginning) + len(without_end) <= killer.killed["gate"], (without_beginning, without_end)
    assert not ended & present, "a claim that was ended is still there"


def _the_watcher_knows_who_runs(watch: WatchProcess, daemon: Daemon, terminals: Terminals) -> None:
    """Its inventory is dockerd's and the claims', and by its log nothing has ended that runs."""
    try:
        wait_until(lambda: inventory_differs(watch, daemon) == "", 20, "an inventory of what is there")
        wait_until(lambda: Story(watch).false_ends(running_now(daemon)) == {}, 10, "a log without false ends")
    except TimeoutError as error:
        pytest.fail(f"{error}: {inventory_differs(watch, daemon)}; {Story(watch).false_ends(running_now(daemon))}")
    assert Story(watch).ever_ended(terminals.containers) == {}


def _the_watcher_knows_how_each_ended(watch: WatchProcess, tally: Tally, killer: Killer) -> None:
    """Of each container that was started the log has start, end and removal.

    What dockerd did in the moment of its death it tells nobody, and it forgets what it removed: a few of twenty people's for each kill.
    """
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: Story(watch).incomplete(tally.begun) == {}, 10, "a log of the whole story")
    missing = Story(watch).incomplete(tally.begun)
    sys.stdout.write(f"  watcher: {len(tally.begun)} containers, {len(missing)} stories incomplete: {list(missing.values())}\n")
    assert len(missing) <= LOST_WITH_DOCKERD * killer.killed["dockerd"], missing


def _nothing_is_left_when_all_is_removed(gate: GateProcess, daemon: Daemon, slices: SlicesOnDisk) -> None:
    root = DockerClient(str(daemon.socket))

    def removed() -> bool:
        present = root.call("GET", "/containers/json?all=1")
        for container in present:
            with contextlib.suppress(DaemonRefused):  # dockerd is removing it already
                root.call("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        return not present

    wait_until(removed, 60, "removal of all containers")
    wait_until(lambda: not list(daemon.cdi_dir.iterdir()), 20, "the end of all claims")
    wait_until(lambda: not slices.claim_slices(), 10, "the end of all open slices")
    left = [path.name for path in gate.state.iterdir() if path.name.endswith((".tmp", ".new")) or path.name.startswith(".")]
    assert left == []
    for path in gate.state.glob("*.json"):
        json.loads(path.read_text())


def _open_descriptors(gate: GateProcess) -> int:
    return len(os.listdir(f"/proc/{gate.pid}/fd"))
