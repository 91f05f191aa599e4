# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What one person may keep in Docker's data root: volumes by number and size, images by the space that they fill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ds01.core.gate.facts import Container, Volume
from ds01.core.gate.verdict import Answer, EnsureVolume, Forward
from ds01.core.image_space import SizedImage, space
from ds01.image_tags import ImageTags
from ds01.own_images import OwnImages
from tests.unit.gate.gate_world import ALICE as ALICE_IDENTITY
from tests.unit.gate.gate_world import CONTEXT, GIB, GPU_ID, LIMITS, OWN_ID, World, body_of, owner, status_of

V = "/v1.45"
ALICE = owner(ALICE_IDENTITY)
VOLUME = {"Type": "volume", "Source": "new1", "Target": "/a"}
ANONYMOUS = {"Type": "volume", "Target": "/a"}


def rule_of(verdict: Forward | Answer) -> str:
    return verdict.rule if isinstance(verdict, Answer) else ""


@pytest.mark.parametrize(
    ("host", "config", "more"),
    [
        ({"Binds": ["new1:/a"]}, {}, 1),
        ({"Binds": ["/a"]}, {}, 1),
        ({"Mounts": [VOLUME]}, {}, 1),
        ({"Mounts": [ANONYMOUS]}, {}, 1),
        ({}, {"Volumes": {"/a": {}, "/b": {}}}, 2),
        ({}, {"Image": "pytorch"}, 1),
        ({"Binds": ["new1:/a", "new2:/b"]}, {"Volumes": {"/c": {}}}, 3),
        ({"VolumesFrom": ["mine"]}, {"Volumes": {"/a": {}}}, 1),
        ({"VolumesFrom": ["mine"]}, {"Image": "pytorch"}, 1),
        ({"Binds": ["minevol:/a"]}, {}, 0),
        ({"Binds": ["/home/alice/x:/a"]}, {}, 0),
        ({}, {}, 0),
    ],
)
def test_every_way_to_a_volume_counts(host: dict[str, Any], config: dict[str, Any], more: int) -> None:
    assert isinstance(World(volume_count=10 - more).create(host, **config), Forward)
    assert rule_of(World(volume_count=11 - more).create(host, **config)) == ("volume-count" if more else "")
    free = replace(LIMITS, aggregate=replace(LIMITS.aggregate, volumes=None))
    assert isinstance(World(volume_count=999, limits=free).create(host, **config), Forward)


def test_a_volume_too_many_is_refused_and_one_that_is_there_is_not() -> None:
    full = World(volume_count=10)
    told = full.ask("POST", V + "/volumes/create", {"Name": "new1"})
    assert isinstance(told, Answer)
    assert told.rule == "volume-count"
    assert "you have 10 volumes, and 10 are allowed" in told.body["message"]
    assert rule_of(full.ask("POST", V + "/volumes/create", {})) == "volume-count"
    assert isinstance(full.ask("POST", V + "/volumes/create", {"Name": "minevol"}), Forward)
    assert status_of(full.ask("POST", V + "/volumes/create", {"Name": "bobvol"})) == 409


def test_what_is_taken_over_from_another_container_stays_and_the_rest_gets_its_owner() -> None:
    """dockerd would make volumes that are nobody's for what the image declares."""
    there = World()
    there.containers[0] = Container(OWN_ID, "mine", ALICE, mounts=({"Type": "volume", "Name": "minevol", "Destination": "/workspace"},))
    kept = body_of(there.create({"VolumesFrom": ["mine"]}, Image="pytorch", Volumes={"/workspace": {}, "/a": {}}))
    assert [mount["Target"] for mount in kept["HostConfig"]["Mounts"]] == ["/a"]
    assert "Volumes" not in kept
    assert kept["HostConfig"]["Mounts"][0]["VolumeOptions"]["Labels"] == ALICE


BOUNDED = World(limits=replace(LIMITS, container=replace(LIMITS.container, volume=2 * GIB)), context=replace(CONTEXT, volume_quotas=True))
SIZE = {"size": str(2 * GIB)}


def test_a_new_volume_is_bounded_where_dockerd_can_and_nowhere_else() -> None:
    made = BOUNDED.create({"Binds": ["new1:/a", "minevol:/b"], "Mounts": [{"Type": "volume", "Target": "/c"}]})
    assert isinstance(made, Forward)
    assert [effect.options for effect in made.before if isinstance(effect, EnsureVolume)] == [SIZE]
    options = [mount.get("VolumeOptions", {}).get("DriverConfig") for mount in body_of(made)["HostConfig"]["Mounts"]]
    assert (len(options), options.count({"Name": "local", "Options": SIZE})) == (3, 1)
    assert body_of(BOUNDED.ask("POST", V + "/volumes/create", {"Name": "new1"}))["DriverOpts"] == SIZE
    for elsewhere in (replace(BOUNDED, context=CONTEXT), replace(BOUNDED, limits=LIMITS)):
        assert "DriverOpts" not in body_of(elsewhere.ask("POST", V + "/volumes/create", {"Name": "new1"}))
        assert "DriverConfig" not in repr(body_of(elsewhere.create({"Mounts": [ANONYMOUS]})))


@pytest.mark.parametrize("options", [SIZE, {**SIZE, "type": "none", "device": "/etc", "o": "bind"}])
def test_a_container_with_a_bounded_volume_starts_again(options: dict[str, str]) -> None:
    there = World()
    there.volumes.append(Volume("sized", ALICE, options))
    mounts = ({"Type": "volume", "Name": "sized", "Destination": "/a", "Driver": "local"},)
    there.containers[0] = Container(OWN_ID, "mine", ALICE, mounts=mounts, host={"CgroupParent": "ds01-u5001-nogpu.slice"})
    verdict = there.ask("POST", f"{V}/containers/mine/start")
    assert rule_of(verdict) == ("" if options == SIZE else "made-elsewhere")


MAKING = [
    "/build?t=alice/x",
    "/build?version=2&remote=client-session",
    "/commit?container=mine",
    "/images/load",
    "/images/create?fromSrc=-",
]


@pytest.mark.parametrize("target", MAKING)
def test_who_fills_too_much_with_images_makes_no_more(target: str) -> None:
    context = replace(CONTEXT, buildkit_allowed=True)
    assert isinstance(World(image_space=200 * GIB - 1, context=context).ask("POST", V + target), Forward)
    told = World(image_space=200 * GIB + 5, context=context).ask("POST", V + target)
    assert isinstance(told, Answer)
    assert told.rule == "image-space"
    assert "your images fill 200 GiB, and 200 GiB are allowed" in told.body["message"]
    assert "docker image ls 'alice/*'" in told.body["message"]


def test_a_full_store_stops_buildkit_and_neither_sessions_nor_pulls_nor_removals() -> None:
    full = World(image_space=300 * GIB, context=replace(CONTEXT, buildkit_allowed=True))
    upgrade = {"Connection": "Upgrade", "Upgrade": "h2c"}
    assert rule_of(full.ask("POST", V + "/grpc", headers=upgrade)) == "image-space"
    assert isinstance(full.ask("POST", V + "/session", headers=upgrade), Forward)
    assert isinstance(full.ask("POST", V + "/images/create?fromImage=bbx"), Forward)
    assert isinstance(full.ask("DELETE", V + "/images/alice/x"), Forward)
    assert isinstance(full.ask("POST", V + f"/containers/{GPU_ID}/start"), Forward)


def image(size: int, *layers: str) -> SizedImage:
    return SizedImage(size, layers)


@pytest.mark.parametrize(
    ("own", "others", "bytes_"),
    [
        ([], [image(9, "a")], 0),
        ([image(9, "a")], [], 9),
        ([image(9, "a", "b")], [image(5, "a")], 4),
        ([image(9, "a", "b")], [image(5, "c")], 9),
        ([image(9, "a", "b")], [image(2, "a"), image(9, "a", "b")], 0),
        # One built on the other: neither is free, and nothing counts twice.
        ([image(9, "a", "b"), image(10, "a", "b", "c")], [image(5, "a")], 5),
        ([image(9, "a", "b"), image(9, "a", "b")], [], 9),
        # The base of an image is what it is built on, not what happens to share a layer above.
        ([image(9, "a", "b")], [image(7, "a", "c"), image(3, "b")], 9),
    ],
)
def test_an_image_counts_for_what_it_adds(own: list[SizedImage], others: list[SizedImage], bytes_: int) -> None:
    assert space(own, others) == bytes_


class Store:
    """dockerd's images; counts how often one is inspected."""

    def __init__(self, images: list[tuple[str, int, list[str], list[str]]]) -> None:
        self.images, self.looks = images, 0

    def call(self, method: str, target: str) -> Any:
        assert (method, target) == ("GET", "/images/json")
        return [{"Id": name, "Size": size, "RepoTags": tags} for name, size, tags, _ in self.images]

    def find(self, target: str) -> Any:
        self.looks += 1
        return next(({"RootFS": {"Layers": layers}} for name, _, _, layers in self.images if target == f"/images/{name}/json"), None)


def test_whose_an_image_is(tmp_path: Path) -> None:
    tags = ImageTags(tmp_path / "tags.json")
    tags.record_made("made", "alice")
    tags.record_made("theirs", "bob")
    store = Store(
        [
            ("base", 100, ["python:3"], ["a"]),
            ("made", 150, [], ["a", "b"]),
            ("unseen", 170, ["alice/x:1", "ds01-u5001/x:1"], ["a", "c"]),
            ("pulled", 900, ["alice/y:1", "cuda:12"], ["d"]),
            ("theirs", 300, ["alice/z:1"], ["a", "e"]),
            ("left", 500, ["<none>:<none>"], ["a", "f"]),
            ("atop", 510, ["alice/w:1"], ["a", "f", "g"]),
        ]
    )
    images = OwnImages(store, tags)  # type: ignore[arg-type]
    assert images.space("alice", ("alice", "ds01-u5001")) == 50 + 70 + 410
    assert images.space("bob", ("bob", "ds01-u5002")) == 200
    looks = store.looks
    assert images.space("alice", ("alice", "ds01-u5001")) == 530
    assert store.looks == looks == 6
    del store.images[1]
    assert images.space("alice", ("alice", "ds01-u5001")) == 480
