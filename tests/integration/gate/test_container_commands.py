# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 container`` as an ordinary person at a real gate: lists, filters, use, what is done to containers, shells in them."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.integration.daemons import wait_until
from tests.integration.gate.ds01_program import Program
from tests.integration.gate.people import Desk

BUSY = ("busybox", "sh", "-c", "while :; do :; done")
SLEEP = ("busybox", "sleep", "600")


def names(found: list[dict[str, Any]]) -> set[str]:
    return {one["name"] for one in found}


@pytest.fixture
def four(alice: Desk, bob: Desk, ds01: Program) -> Program:
    """alice has a busy one, one with a GPU, one of a compose project, and a stopped one; bob has one."""
    alice.must("run", "-d", "--name", "busy", *BUSY)
    alice.must("run", "-d", "--name", "train-1", "--gpus", "all", *SLEEP)
    alice.must("run", "-d", "--name", "web", "--label", "com.docker.compose.project=shop", *SLEEP)
    alice.must("run", "--name", "done", "busybox", "true")
    bob.must("run", "-d", "--name", "foreign", *SLEEP)
    return ds01


LISTS: tuple[tuple[tuple[str, ...], set[str]], ...] = (
    ((), {"busy", "train-1", "web", "done"}),
    (("--running",), {"busy", "train-1", "web"}),
    (("--stopped",), {"done"}),
    (("--filter", "name=train*"), {"train-1"}),
    (("--filter", "gpu=full"), {"train-1"}),
    (("--filter", "gpu=no", "--running"), {"busy", "web"}),
    (("--filter", "project=shop"), {"web"}),
    (("--filter", "state=exited"), {"done"}),
    (("--filter", "image=busybox", "--filter", "name=b*", "--filter", "name=w*"), {"busy", "web"}),
    (("--filter", "image=nothing"), set()),
)


def test_list_and_stats_are_the_callers_and_filtered(four: Program) -> None:
    for arguments, expected in LISTS:
        assert names(four.json("container", "list", *arguments)) == expected, arguments
    assert "foreign" not in four.must("container", "list")
    assert four.must("completion", "containers").split() == ["busy", "done", "train-1", "web"]
    _check_stats(four)
    _check_watch(four)


def _check_stats(four: Program) -> None:
    found = {one["name"]: one for one in four.json("container", "stats")}
    assert set(found) == {"busy", "train-1", "web"}
    assert found["busy"]["cpu_percent"] > 1 > found["web"]["cpu_percent"]
    assert 0 < found["busy"]["memory"] < found["busy"]["memory_limit"] <= 2**30
    assert [gpu["profile"] for gpu in found["train-1"]["gpus"]] == [None]
    assert names(four.json("container", "stats", "--filter", "gpu=yes")) == {"train-1"}
    stopped = four.json("container", "stats", "--filter", "state=exited")
    assert [(one["name"], one["cpu_percent"]) for one in stopped] == [("done", None)]
    table = four.must("container", "stats", "--filter", "name=train-1")
    assert "full GPU" in table
    assert "busy" not in table


def _check_watch(four: Program) -> None:
    with four.terminal("container", "stats", "--watch", "--interval", "0.3") as terminal:
        for _ in range(3):
            terminal.expect("PROCESSES")
            terminal.expect("train-1")
        terminal.control("c")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.said


def test_start_stop_pause_remove(alice: Desk, ds01: Program) -> None:
    alice.must("run", "-d", "--name", "one", "--stop-timeout", "0", *SLEEP)
    states = {"pause": "paused", "unpause": "running", "stop": "exited", "start": "running"}
    for action, state in states.items():
        assert ds01.json("container", action, "one") == {"done": ["one"], "failed": []}
        assert alice.must("inspect", "-f", "{{.State.Status}}", "one") == state
    assert "standard input is not a terminal" in ds01.refused("container", "remove", "one")
    said = ds01.refused("container", "remove", "one", "--yes")
    assert "running" in said
    with ds01.terminal("container", "remove", "one", "--force") as terminal:
        terminal.expect("[y/N]")
        terminal.type("n")
        assert terminal.end() == 1
    assert alice.must("ps", "-q") != ""
    alice.must("create", "--name", "two", *SLEEP)
    assert "removed two" in ds01.must("container", "remove", "two", "--yes")
    assert "retired one" in ds01.must("container", "retire", "one", "--yes")
    assert alice.must("ps", "-aq") == ""


def test_what_belongs_to_others_is_not_there(bob: Desk, ds01: Program) -> None:
    bob.must("run", "-d", "--name", "foreign", *SLEEP)
    for words in (("stop", "foreign"), ("start", "foreign"), ("remove", "foreign", "--force", "--yes")):
        assert "No such container" in ds01.refused("container", *words)
    done = ds01("container", "logs", "foreign")
    assert done.returncode == 1
    assert "No such container" in done.stderr
    assert bob.must("ps", "--format", "{{.Names}}") == "foreign"


def test_one_failure_does_not_keep_the_others(alice: Desk, ds01: Program) -> None:
    alice.must("create", "--name", "there", *SLEEP)
    done = ds01("container", "start", "missing", "there", "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["done"] == ["there"]
    assert document["failed"][0]["container"] == "missing"


def test_exec_logs_and_attach_hand_over_to_docker(alice: Desk, ds01: Program) -> None:
    alice.must("run", "-d", "--name", "talk", "busybox", "sh", "-c", "echo said; sleep 600")
    wait_until(lambda: "said" in alice.must("logs", "talk"), 10, "the container's first line")
    assert ds01.must("container", "logs", "talk") == "said\n"
    done = ds01("container", "exec", "talk", "sh", "-c", "cat; exit 3", stdin="typed")
    assert (done.returncode, done.stdout) == (3, "typed")
    assert ds01.must("container", "exec", "talk", "--", "echo", "-n", "--json") == "--json"
    with ds01.terminal("container", "attach", "talk") as terminal:
        terminal.type("echo in $((40+2))")
        terminal.expect("in 42")
        terminal.type("exit")
        assert terminal.end() == 0
    assert alice.must("inspect", "-f", "{{.State.Status}}", "talk") == "running"


def test_deploy_is_ones_own_uid_and_directory(alice: Desk, ds01: Program) -> None:
    work = ds01.home / "project"
    work.mkdir(exist_ok=True)
    assert alice.person is not None
    os.chown(work, alice.person.uid, alice.person.uid)
    made = ds01.json("container", "deploy", "busybox", "--workspace", str(work))
    assert made["container"] == "alice.work"
    ds01.must("container", "exec", "alice.work", "sh", "-c", "echo hello > /workspace/file; id -u >> file; echo $HOME >> file")
    assert (work / "file").read_text() == f"hello\n{alice.person.uid}\n/workspace\n"
    assert (work / "file").stat().st_uid == alice.person.uid
    assert [one["name"] for one in ds01.json("container", "list", "--filter", "gpu=yes")] == ["alice.work"]
    assert "you have a container alice.work already" in ds01.refused("container", "deploy", "busybox")


def test_a_refused_deploy_leaves_nothing(alice: Desk, ds01: Program) -> None:
    assert "3" in ds01.refused("container", "deploy", "busybox", "--gpu", "3")
    assert "ds01 image list" in ds01.refused("container", "deploy", "no-such-image")
    assert "is refused" in ds01.refused("container", "deploy", "busybox", "--workspace", "/etc")
    alice.must("create", "--name", "greedy", "--gpus", "all", *SLEEP)
    for number in range(4):
        alice.must("run", "-d", "--name", f"holder{number}", "--gpus", "2", *SLEEP)
    for words in (("deploy", "busybox"), ("start", "greedy")):
        said = ds01.refused("container", *words)
        assert "GPU" in said
        assert "8" in said
    assert "alice.work" not in alice.must("ps", "-a", "--format", "{{.Names}}")
