# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Prunes reach the caller's own things alone, and none of them fails half-way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlparse

import pytest
from ds01_gate.effects import Outcome
from ds01_gate.forwarding import _noticing_image
from ds01_gate.image_sweep import ImageSweep

from ds01.core.gate.facts import Image
from ds01.core.gate.verdict import Answer, Forward, OwnImage, SweepImages
from ds01.docker_upstream import DaemonRefused
from ds01.image_tags import ImageTags, Writer
from tests.unit.gate.gate_world import ADMIN, World, status_of

V = "/v1.45"


def filters(**wanted: Any) -> str:
    return f"?filters={quote(json.dumps({key.replace('_not', '!'): value for key, value in wanted.items()}))}"


@pytest.mark.parametrize(
    ("query", "narrowed", "tagged"),
    [
        ("", {}, False),
        (filters(dangling=["true"]), {}, False),
        (filters(dangling={"1": True}), {}, False),
        (filters(dangling=["false"]), {}, True),
        (filters(dangling=["true", "false"]), {}, False),
        (filters(dangling=["false"], until=["24h"], label=["a=b"]), {"until": ["24h"], "label": ["a=b"]}, True),
        (filters(label=["ds01.user=bob"]), {"label": ["ds01.user=bob"]}, False),
    ],
)
def test_pruning_images_is_the_gates_own_work(query: str, narrowed: dict[str, list[str]], tagged: bool) -> None:
    verdict = World().ask("POST", f"{V}/images/prune{query}")
    assert verdict == SweepImages("alice", narrowed, tagged)
    assert isinstance(World().as_(ADMIN).ask("POST", f"{V}/images/prune{query}"), Forward)


@pytest.mark.parametrize("query", [filters(dangling=["perhaps"]), filters(label_not=["a"]), filters(reference=["x"]), "?all=1"])
def test_a_prune_that_is_not_understood_removes_nothing(query: str) -> None:
    assert status_of(World().ask("POST", f"{V}/images/prune{query}")) == 400


def test_the_build_cache_is_left_and_the_prune_goes_on() -> None:
    verdict = World().ask("POST", f"{V}/build/prune?all=1")
    assert isinstance(verdict, Answer)
    assert (verdict.status, verdict.body) == (200, {"CachesDeleted": [], "SpaceReclaimed": 0})
    assert isinstance(World().as_(ADMIN).ask("POST", f"{V}/build/prune?all=1"), Forward)


class Daemon:
    """Images as dockerd lists them; a removal of what is in use, or of an id with names, is refused."""

    def __init__(self, images: list[dict[str, Any]], used: tuple[str, ...] = ()) -> None:
        self.images = images
        self.used = used
        self.asked: list[str] = []

    def call(self, method: str, target: str, _body: Any = None) -> Any:
        self.asked.append(f"{method} {target}")
        url = urlparse(target)
        if method == "DELETE":
            return self._remove(unquote(url.path.removeprefix("/images/")))
        if url.path == "/containers/json":
            return [{"ImageID": one} for one in self.used]
        wanted = json.loads(parse_qs(url.query).get("filters", ["{}"])[0])
        dangling = wanted.get("dangling", [None])[0]
        return [one for one in self.images if dangling is None or (not one["RepoTags"]) is (dangling == "true")]

    def _remove(self, ref: str) -> list[dict[str, str]]:
        for image in list(self.images):
            if image["Id"] == ref and not image["RepoTags"] and ref not in self.used:
                self.images.remove(image)
                return [{"Deleted": ref}]
            if ref in image["RepoTags"] and not (len(image["RepoTags"]) == 1 and image["Id"] in self.used):
                image["RepoTags"].remove(ref)
                if image["RepoTags"]:
                    return [{"Untagged": ref}]
                self.images.remove(image)
                return [{"Untagged": ref}, {"Deleted": image["Id"]}]
        raise DaemonRefused(409, "conflict")


def image(name: str, *tags: str, size: int = 10, **more: Any) -> dict[str, Any]:
    return {"Id": f"sha256:{name}", "RepoTags": list(tags), "Size": size, "SharedSize": 4, **more}


@pytest.fixture
def tags(tmp_path: Path) -> ImageTags:
    table = ImageTags(tmp_path / "tags.json")
    for name, user in (("mine", "alice"), ("used", "alice"), ("bobs", "bob"), ("kept", "alice"), ("gone", "alice")):
        table.record_made(f"sha256:{name}", user)
    for ref, user in (("alice/a:1", "alice"), ("alice/run:1", "alice"), ("bob/b:1", "bob"), ("ghcr.io/x/y:1", "alice")):
        table.record(ref, Writer(user, False))
    return table


def world() -> list[dict[str, Any]]:
    labelled = {"Labels": {"ds01.user": "alice", "ds01.uid": "5001"}}
    return [
        image("mine"),
        image("used"),
        image("bobs", **labelled),
        image("nobodys", **labelled),
        image("kept", "alice/a:1", "bob/b:1"),
        image("running", "alice/run:1"),
        image("pushed", "ghcr.io/x/y:1"),
        image("python", "python:3"),
    ]


def test_only_own_images_go_whatever_labels_say(tags: ImageTags) -> None:
    daemon = Daemon(world(), used=("sha256:used", "sha256:running"))
    answer = ImageSweep(daemon, tags).sweep(SweepImages("alice", {}))  # type: ignore[arg-type]
    assert answer.body == {"ImagesDeleted": [{"Deleted": "sha256:mine"}], "SpaceReclaimed": 6}
    assert {one["Id"] for one in daemon.images} == {one["Id"] for one in world()} - {"sha256:mine"}
    assert not any("force" in line for line in daemon.asked)
    assert tags.maker("sha256:gone") is None
    assert tags.maker("sha256:used") == "alice"


def test_with_all_the_own_names_go_too_and_nobody_elses(tags: ImageTags) -> None:
    daemon = Daemon(world(), used=("sha256:used", "sha256:running"))
    answer = ImageSweep(daemon, tags).sweep(SweepImages("alice", {}, tagged=True))  # type: ignore[arg-type]
    left = {name for one in daemon.images for name in one["RepoTags"]}
    assert left == {"bob/b:1", "alice/run:1", "python:3"}
    assert {"Untagged": "alice/a:1"} in answer.body["ImagesDeleted"]
    assert {"Deleted": "sha256:pushed"} in answer.body["ImagesDeleted"]
    assert "sha256:bobs" in {one["Id"] for one in daemon.images}


def test_nothing_to_prune_is_no_error(tags: ImageTags) -> None:
    assert ImageSweep(Daemon([]), tags).sweep(SweepImages("alice", {})).body == {  # type: ignore[arg-type]
        "ImagesDeleted": None,
        "SpaceReclaimed": 0,
    }


def test_who_made_an_image_first_keeps_it_and_the_table_outlives_a_restart(tags: ImageTags, tmp_path: Path) -> None:
    tags.record_made("sha256:mine", "bob")
    again = ImageTags(tmp_path / "tags.json")
    assert again.maker("sha256:mine") == "alice"
    assert again.written_by("alice") == tags.written_by("alice") != []
    assert again.writer("alice/a:1") == Writer("alice", False)


ID = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([b'{"stream":"x"}\r\n{"aux":{"ID":"', ID.encode(), b'"}}\r\n{"stream":"done"}'], ID),
        ([b'{"Id":"' + ID.encode() + b'"}\n'], ID),
        ([b'{"status":"' + ID.encode() + b'"}\r\n'], ID),
        ([bytes([one]) for one in b'{"aux":{"ID":"' + ID.encode() + b'"}}'], ID),
        ([json.dumps({"stream": f'{{"aux":{{"ID":"{ID}"}}}}'}).encode()], None),
        ([b'{"status":"Digest: ' + ID.encode() + b'"}', b'{"errorDetail":{}}'], None),
        ([], None),
    ],
)
def test_the_id_of_a_new_image_is_noticed_and_cannot_be_printed_by_a_build(said: list[bytes], found: str | None) -> None:
    outcome = Outcome()
    assert b"".join(_noticing_image(iter(said), outcome)) == b"".join(said)
    assert outcome.images == ((found,) if found else ())


@pytest.mark.parametrize("target", ["/build", "/build?t=alice/x", "/commit?container=mine", "/images/create?fromSrc=-"])
def test_what_makes_an_image_is_remembered(target: str) -> None:
    verdict = World().ask("POST", V + target)
    assert isinstance(verdict, Forward)
    assert OwnImage("alice") in verdict.after


def test_an_own_image_without_a_name_can_be_removed_by_its_id() -> None:
    there = World()
    there.images["dangling"] = Image("sha256:" + "2" * 64, maker="alice")
    there.images["theirs"] = Image("sha256:" + "1" * 64, maker="bob")
    there.images["renamed"] = Image("sha256:" + "0" * 64, maker="alice", tags=("bob/x:1",))
    assert isinstance(there.ask("DELETE", f"{V}/images/sha256:{'2' * 64}"), Forward)
    assert status_of(there.ask("DELETE", f"{V}/images/sha256:{'1' * 64}")) == 403
    assert status_of(there.ask("DELETE", f"{V}/images/sha256:{'0' * 64}")) == 403
