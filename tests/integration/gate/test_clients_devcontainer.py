# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The dev container CLI, unmodified and as an ordinary person, through the gate: up, exec, rebuild, a container that it stops, its end."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.integration.gate.more_clients import MoreClients
from tests.integration.gate.people import Desk
from tests.integration.lab import Lab

_DEVCONTAINER = {
    "image": "devbox",
    "remoteUser": "root",
    "updateRemoteUserUID": False,
    "overrideCommand": True,
    "runArgs": ["--gpus", "1"],
    "shutdownAction": "stopContainer",
    "postCreateCommand": "echo created > /tmp/created",
}


@pytest.fixture(scope="module")
def clients(lab: Lab) -> MoreClients:
    """The CLI and its node."""
    return MoreClients(lab).prepare().with_devcontainers()


@pytest.fixture
def workspace(alice: Desk, lab: Lab) -> Path:
    """A project of alice's, and an image with the accounts that the CLI asks for."""
    assert alice.person is not None
    archive = lab.path / "devbox.tar"
    shutil.copy(lab.image, archive)
    with tarfile.open(archive, "a") as image:
        for name, text in (("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"), ("etc/group", b"root:x:0:\n")):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            image.addfile(entry, io.BytesIO(text))
    alice.gate.daemon.import_image("devbox:latest", archive)
    project = alice.person.home / "thesis"
    (project / ".devcontainer").mkdir(parents=True, exist_ok=True)
    (project / "data").write_text("mine\n")
    _write(alice, project, **_DEVCONTAINER)
    return project


def _write(alice: Desk, project: Path, **settings: object) -> None:
    (project / ".devcontainer" / "devcontainer.json").write_text(json.dumps(settings))
    assert alice.person is not None
    for directory, _, files in os.walk(project):
        for path in (directory, *(os.path.join(directory, file) for file in files)):
            os.chown(path, alice.person.uid, alice.person.uid)


def test_up_exec_rebuild_and_end(alice: Desk, clients: MoreClients, workspace: Path) -> None:
    folder = ("--workspace-folder", str(workspace))
    up = json.loads(clients.must(alice, "devcontainer", "up", *folder).splitlines()[-1])
    assert up["outcome"] == "success"
    first = up["containerId"]
    labels = json.loads(alice.must("inspect", "-f", "{{json .Config.Labels}}", first))
    assert (labels["ds01.user"], labels["ds01.kind"], labels["devcontainer.local_folder"]) == ("alice", "devcontainer", str(workspace))
    seen = clients.must(alice, "devcontainer", "exec", *folder, "sh", "-c", "cat data /tmp/created; ls /dev/nvidia*")
    assert seen.split() == ["mine", "created", "/dev/nvidia0"]

    again = json.loads(clients.must(alice, "devcontainer", "up", *folder).splitlines()[-1])
    assert again["containerId"] == first, "a container that runs is used again"
    alice.must("stop", "-t", "0", first)  # shutdownAction: what an editor does when its window closes
    resumed = json.loads(clients.must(alice, "devcontainer", "up", *folder).splitlines()[-1])
    assert resumed["containerId"] == first
    assert clients.must(alice, "devcontainer", "exec", *folder, "sh", "-c", "ls /dev/nvidia*").strip() == "/dev/nvidia0"

    _write(alice, workspace, **{**_DEVCONTAINER, "containerEnv": {"ROUND": "two"}})
    rebuilt = json.loads(clients.must(alice, "devcontainer", "up", *folder, "--remove-existing-container").splitlines()[-1])
    assert rebuilt["containerId"] != first
    assert clients.must(alice, "devcontainer", "exec", *folder, "sh", "-c", "echo $ROUND; ls /dev/nvidia*").split() == [
        "two",
        "/dev/nvidia0",
    ]
    assert alice.must("ps", "-aq", "--no-trunc") == rebuilt["containerId"]


def test_what_a_person_may_not_have_is_said_by_the_cli(alice: Desk, clients: MoreClients, workspace: Path) -> None:
    _write(alice, workspace, **{**_DEVCONTAINER, "privileged": True})
    done = clients.run(alice, "devcontainer", "up", "--workspace-folder", str(workspace))
    assert done.returncode != 0
    assert "privileged" in (done.stdout + done.stderr).lower()
    assert alice.must("ps", "-aq") == ""
