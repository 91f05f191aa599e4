# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 setup`` at a terminal: what it offers and does, and what when something does not fit; what ``devcontainer check`` promises."""

from __future__ import annotations

import json

from tests.integration.gate.ds01_program import Program
from tests.integration.gate.people import Desk


def test_a_beginner_gets_to_a_running_container(alice: Desk, ds01: Program) -> None:
    alice.must("tag", "busybox", "alice/tools:latest")
    ds01.must("image", "build", "Plan B", "--base", "busybox", "--description", "what I use", "--no-build")
    with ds01.terminal("setup") as terminal:
        terminal.expect("Welcome, alice (group people).")
        terminal.expect("Make one? [Y/n]")
        terminal.type("n")
        terminal.expect("Directory [~/workspace]:")
        terminal.type("/etc/mine")
        terminal.expect("Not possible:")
        terminal.type("")
        terminal.expect("You have 2 images here.")
        listed = terminal.expect("Which image [1]:")
        assert "alice/plan-b" in listed
        assert "what I use" in listed
        assert "alice/tools" in listed
        assert "busybox:latest" in listed
        terminal.type("99")
        terminal.expect("expected a number from 1 to ")
        terminal.type("1")
        terminal.expect("Building alice/plan-b:latest")
        terminal.expect("Write one into")
        terminal.type("y")
        terminal.expect("Name of the container [alice.work]:")
        terminal.type("")
        terminal.expect("Start alice.work from alice/plan-b:latest? [Y/n]")
        terminal.type("")
        offered = terminal.expect("Which GPU [1]:")
        assert "8 of 8" in offered
        terminal.type("1")
        terminal.expect("alice.work runs.")
        assert terminal.end() == 0
    assert "Traceback" not in terminal.said
    assert alice.must("inspect", "-f", "{{.Config.Image}} {{.State.Status}}", "alice.work") == "alice/plan-b:latest running"
    assert ds01.must("devcontainer", "check", "workspace") != ""


def test_over_a_limit_it_leads_back_to_a_choice(alice: Desk, ds01: Program) -> None:
    for number in range(4):
        alice.must("run", "-d", "--name", f"holder{number}", "--gpus", "2", "busybox", "sleep", "600")
    with ds01.terminal("setup", "--image", "busybox", "--workspace", "~/workspace") as terminal:
        terminal.expect("Make one? [Y/n]")
        terminal.type("y")
        terminal.expect("ssh-ed25519 ")
        terminal.expect("[y/N]")
        terminal.type("")
        terminal.expect("Name of the container")
        terminal.type("holder0")
        terminal.expect("[Y/n]")
        terminal.type("")
        assert "(0 of 8 free)" in terminal.expect("Which GPU [1]:")
        terminal.type("1")
        terminal.expect("you have a container holder0 already")
        terminal.expect("What now [1]:")
        terminal.type("1")
        terminal.expect("Name of the container [alice.work]:")
        terminal.type("")
        terminal.expect("Not possible:")
        terminal.expect("What now [1]:")
        terminal.type("gpu")
        terminal.expect("Which GPU [1]:")
        terminal.type("none")
        terminal.expect("alice.work runs.")
        assert terminal.end() == 0
    key = ds01.home / ".ssh" / "id_ed25519"
    assert key.stat().st_mode & 0o777 == 0o600
    assert alice.must("inspect", "-f", "{{.HostConfig.DeviceRequests}}", "alice.work") == "[]"
    with ds01.terminal("setup") as terminal:
        terminal.expect("Your key on this server")
        terminal.expect("Directory [")
        terminal.control("c")
        assert terminal.end() == 130
    assert "go on at any time with: ds01 setup" in terminal.said
    assert "Traceback" not in terminal.said


def test_without_a_terminal_it_takes_the_suggestions_or_says_so(alice: Desk, ds01: Program) -> None:
    assert "ds01 setup --yes" in ds01.refused("setup")
    said = ds01.must("setup", "--yes", "--gpu", "none", "--name", "alice.first")
    assert "Taken: busybox:latest" in said
    assert "alice.first runs." in said
    assert "ds01 image list" in ds01.refused("setup", "--yes", "--image", "missing", "--name", "alice.second")
    assert alice.must("ps", "--format", "{{.Names}}") == "alice.first"


RUN_ARGS = (
    ["--privileged"], ["--network=host"], ["--pid", "host"], ["--ipc=host"], ["--device", "/dev/null"], ["--cap-add", "SYS_ADMIN"],
    ["--cap-add=CHOWN"], ["--security-opt", "seccomp=unconfined"], ["--security-opt=no-new-privileges"], ["--runtime=nvidia"],
    ["-v/:/x"], ["-v", "/run/docker.sock:/x"], ["--mount", "type=bind,source=/srv,target=/x"], ["-v", "named:/x", "--shm-size", "32m"],
    ["--cpuset-cpus", "0"],
)  # fmt: skip


def test_devcontainer_check_says_what_the_gate_does(alice: Desk, ds01: Program) -> None:
    """Each of these run arguments: found by the check if and only if the gate refuses the container."""
    file = ds01.home / "devcontainer.json"
    for arguments in (*RUN_ARGS, ["-v", f"{ds01.home}:/x"]):
        file.write_text(json.dumps({"image": "busybox", "runArgs": ["--gpus", "all", *arguments]}))
        checked = ds01("devcontainer", "check", "devcontainer.json", "--json")
        created = alice.docker("create", "--gpus", "all", *arguments, "busybox")
        assert checked.returncode == (0 if created.returncode == 0 else 1), (arguments, checked.stdout, created.stderr)
        found = [one["where"] for one in json.loads(checked.stdout)["findings"] if one["refused"]]
        assert len(found) == (created.returncode != 0), (arguments, found, created.stderr)
