# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 image`` as an ordinary person: images are really built, by dockerd's own builder through the gate.

There is no network, so the base is busybox with programs named python3 and apt-get that write down their arguments: what arrives there is
what a real pip or apt would have been told.
"""

from __future__ import annotations

import json

import pytest

from ds01.docker_upstream import DockerClient
from tests.integration.daemons import wait_until
from tests.integration.gate.ds01_program import Program
from tests.integration.gate.people import Desk

_RECORDER = '#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done >> /told\n'
DESCRIPTION = 'it\'s "quoted" $(touch /owned) `touch /owned` ${HOME} \\n \\ #no; & | > Größe 模型'


@pytest.fixture
def base(alice: Desk) -> str:
    """An image with a recording python3 and apt-get."""
    alice.must(
        "run",
        "--name",
        "maker",
        "busybox",
        "sh",
        "-c",
        f"printf '%s' '{_RECORDER}' > /bin/python3 && chmod +x /bin/python3 && cp /bin/python3 /bin/apt-get",
    )
    alice.must("commit", "maker", "alice/base:1")
    return "alice/base:1"


def told(alice: Desk, image: str) -> list[str]:
    return alice.must("run", "--rm", image, "cat", "/told").splitlines()


def label(alice: Desk, image: str, name: str) -> str:
    return str(json.loads(alice.must("image", "inspect", image))[0]["Config"]["Labels"][f"org.opencontainers.image.{name}"])


def test_build_update_rebuild_and_remove(alice: Desk, ds01: Program, base: str) -> None:
    (ds01.home / "requirements.txt").write_text("torch==2.5.1  # comment; $(touch /owned)\n--extra-index-url https://example.org/simple\n")
    words = ("--packages", "numpy>=1,<2", "jax[cuda12]", "--system", "ffmpeg", "libgl1", "--requirements", "requirements.txt")
    made = ds01.json("image", "build", "My Größe (v2)", "--base", base, *words, "--description", DESCRIPTION)
    assert made["image"] == "alice/my-grosse-v2:latest"
    assert alice.must("image", "inspect", "-f", "{{.Id}}", made["image"]) == made["id"]
    assert label(alice, made["image"], "description") == DESCRIPTION
    assert label(alice, made["image"], "title") == "My Größe (v2)"
    pip = ["-m", "pip", "install"]
    apt = ["update", "install", "-y", "--no-install-recommends", "--", "ffmpeg", "libgl1"]
    assert told(alice, made["image"]) == [*apt, *pip, "numpy>=1,<2", "jax[cuda12]", *pip, "-r", "/usr/local/share/ds01/requirements.txt"]
    kept = alice.must("run", "--rm", made["image"], "cat", "/usr/local/share/ds01/requirements.txt")
    assert kept == (ds01.home / "requirements.txt").read_text().rstrip("\n")
    assert alice.must("run", "--rm", made["image"], "sh", "-c", "ls /owned 2>/dev/null | wc -l") == "0"

    assert [one["state"] for one in ds01.json("image", "list")] == ["no definition", "built"]
    alice.must("run", "-d", "--name", "older", made["image"], "sleep", "600")
    with ds01.terminal("image", "update", "My Größe (v2)", "--add", "scipy", "--remove", "jax") as terminal:
        terminal.expect("The definition is changed.")
        terminal.expect("older than its definition. Build it now? [Y/n]")
        terminal.type("n")
        terminal.expect("ds01 image update my-grosse-v2 --rebuild")
        assert terminal.end() == 0
    assert [one["state"] for one in ds01.json("image", "list")] == ["no definition", "changed"]
    with ds01.terminal("image", "update", "my-grosse-v2") as terminal:
        terminal.expect("Build it now? [Y/n]")
        terminal.type("")
        terminal.expect("Built alice/my-grosse-v2:latest")
        terminal.expect("older image: older")
        assert terminal.end() == 0
    assert "scipy" in told(alice, made["image"])
    assert "jax[cuda12]" not in told(alice, made["image"])
    assert "built from it already" in ds01.must("image", "update", "my-grosse-v2")

    assert "standard input is not a terminal" in ds01.refused("image", "remove", "my-grosse-v2")
    alice.must("run", "-d", "--name", "newer", made["image"], "sleep", "600")
    assert "ds01 container list" in ds01.refused("image", "remove", "my-grosse-v2", "--yes")
    alice.must("rm", "-f", "newer")
    assert ds01.json("image", "remove", "my-grosse-v2", "--yes")["definition_removed"] is True
    assert "alice/my-grosse-v2" not in alice.must("images")
    assert "there is no image" in ds01.refused("image", "remove", "my-grosse-v2", "--yes")


def test_a_build_that_fails_says_where(ds01: Program, base: str, alice: Desk) -> None:
    alice.must("run", "--name", "breaker", base, "sh", "-c", "printf '#!/bin/sh\\necho no such package: $4; exit 1\\n' > /bin/python3")
    alice.must("commit", "breaker", "alice/broken:1")
    said = ds01.refused("image", "build", "wrong", "--base", "alice/broken:1", "--packages", "nunpy", "--json")
    assert "no such package: nunpy" in said
    assert "ds01 image update wrong" in said
    assert "alice/wrong" not in alice.must("images")
    assert "Another one" in ds01.refused("image", "build", "no-base", "--base", "localhost:1/nothing:1")
    assert {one["name"]: one["state"] for one in ds01.json("image", "list")}["no-base"] == "not built"


def test_images_of_others_are_out_of_reach(ds01: Program, ds01_of_bob: Program, base: str, bob: Desk) -> None:
    ds01.must("image", "build", "mine", "--base", base)
    assert ds01_of_bob.json("image", "list") == []
    assert "there is no image mine" in ds01_of_bob.refused("image", "remove", "mine", "--yes")
    # A whole reference of somebody else's is taken for a name of one's own, never for theirs.
    ds01_of_bob.refused("image", "remove", "alice/mine:latest", "--yes")
    assert "alice/mine" in bob.must("images")
    ds01.must("image", "remove", "mine", "--yes")


def test_ctrl_c_ends_the_build(ds01: Program, alice: Desk, root: DockerClient) -> None:
    alice.must(
        "run", "--name", "maker", "busybox", "sh", "-c", "printf '#!/bin/sh\nexec sleep 300\n' > /bin/python3; chmod +x /bin/python3"
    )
    alice.must("commit", "maker", "alice/slow:1")
    with ds01.terminal("image", "build", "slow work", "--base", "alice/slow:1", "--packages", "x") as terminal:
        terminal.expect("pip")
        wait_until(lambda: bool(root.call("GET", "/containers/json")), 20, "the build's container")
        terminal.control("c")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.said
    wait_until(lambda: not root.call("GET", "/containers/json"), 20, "end of the build's container")
    assert {one["name"]: one["state"] for one in ds01.json("image", "list")}["slow work"] == "not built"
