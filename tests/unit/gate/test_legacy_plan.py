# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What carrying a container of before the gate over would do, and that the gate takes the request that it makes."""

from __future__ import annotations

from typing import Any

import pytest

from ds01.core.gate.facts import Image
from ds01.core.legacy_plan import is_legacy, plan
from tests.unit.gate.gate_world import ALICE, World, body_of, owner

NAMES = {5001: "alice", 5002: "bob"}
ROOTS = {5001: ["/home/alice", "/scratch/alice"]}
HOME = {"Type": "bind", "Source": "/home/alice/work", "Destination": "/workspace", "RW": True}
ETC = {"Type": "bind", "Source": "/etc", "Destination": "/e", "RW": True}
DATA = {"Type": "bind", "Source": "/scratch/alice", "Destination": "/s", "RW": False}


def found(
    name: str = "train._.5001", labels: dict[str, str] | None = None, mounts: tuple[Any, ...] = (), running: bool = False, **host: Any
) -> dict[str, Any]:
    config = {"Image": "pytorch", "Labels": labels or {}, "Tty": True, "Cmd": ["bash"]}
    return {"Id": "9" * 64, "Name": f"/{name}", "Config": config, "HostConfig": host, "Mounts": mounts, "State": {"Running": running}}


def test_a_container_of_the_tools_of_before_is_made_anew_by_its_owner() -> None:
    gpus = [{"Driver": "nvidia", "DeviceIDs": ["GPU-1"]}]
    one = plan(found(mounts=(HOME, DATA), ShmSize=1 << 26, Memory=1 << 30, DeviceRequests=gpus), NAMES, ROOTS)
    assert (one.user, one.uid, one.marked_by, one.new_name, one.obstacle) == ("alice", 5001, "name", "train", None)
    world = World()
    world.images[one.repository] = Image("sha256:" + "0" * 64, writer="alice")
    verdict = world.ask("POST", f"/v1.45/containers/create?name={one.new_name}", {**one.body, "Image": one.repository})
    built = body_of(verdict)
    assert built["Labels"]["ds01.user"] == "alice"
    assert [mount["Target"] for mount in built["HostConfig"]["Mounts"]] == ["/workspace", "/s"]
    assert built["HostConfig"]["Mounts"][1]["ReadOnly"] is True
    assert built["HostConfig"]["DeviceRequests"][0]["Driver"] == "cdi"
    assert one.left_out == ("a GPU that was chosen once and for all when it was made",)
    assert one.repository.startswith(f"{ALICE.namespaces[0]}/")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Privileged": True}, "all privileges"),
        ({"mounts": (ETC,)}, "/etc"),
        ({"mounts": ({"Type": "volume", "Name": "data"},)}, "volume data"),
        ({"NetworkMode": "lan"}, "network lan"),
        ({"CgroupParent": "ds01-student-alice.slice"}, "ds01-student-alice.slice"),
        ({"PortBindings": {"22/tcp": [{"HostPort": "22"}]}}, "every address"),
    ],
)
def test_what_is_left_out_is_said_and_not_asked_for(changes: dict[str, Any], words: str) -> None:
    one = plan(found(**changes), NAMES, ROOTS)
    assert any(words in line for line in one.left_out)
    verdict = World().ask("POST", "/v1.45/containers/create", {**one.body, "Image": "bbx"})
    assert body_of(verdict)["HostConfig"].get("Mounts", []) == []


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (found(running=True), "stop it first"),
        (found("train._.4711"), "nobody"),
        (found("train._.5002", {"aime.mlc.USER": "alice"}), "two people"),
        (found("box", {"aime.mlc.USER": "ghost"}), "nobody"),
    ],
)
def test_what_cannot_be_carried_over(one: dict[str, Any], why: str) -> None:
    assert why in (plan(one, NAMES, ROOTS).obstacle or "")


def test_another_persons_directories_never_come_along() -> None:
    one = plan(found("train._.5002", mounts=(HOME,)), NAMES, ROOTS)
    assert one.user == "bob"
    assert "Binds" not in one.body["HostConfig"]


def test_what_the_gate_made_is_not_of_before() -> None:
    assert not is_legacy({**owner(ALICE), "aime.mlc.USER": "bob"}, "train._.5002")
    assert not is_legacy({}, "box")
    assert is_legacy({"ds01.user": "alice"}, "box")
