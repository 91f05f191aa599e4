# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``docker save`` and ``docker load`` of an ordinary user with a real daemon: own names come in, nobody else's change."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from ds01.docker_upstream import DockerClient
from tests.integration.gate.people import Desk

V = "/v1.45"


def saved(desk: Desk, *names: str) -> Path:
    """An archive in the person's home."""
    assert desk.person is not None
    path = desk.person.home / "saved.tar"
    path.unlink(missing_ok=True)
    desk.must("save", "-o", str(path), *names)
    return path


def renamed(archive: Path, old: str, new: str, tables: tuple[str, ...] = ("manifest.json", "index.json", "repositories")) -> bytes:
    """The archive with another name in its tables, as an attacker would make it."""
    raw = io.BytesIO()
    with tarfile.open(archive) as source, tarfile.open(fileobj=raw, mode="w") as target:
        for entry in source.getmembers():
            data = (source.extractfile(entry) or io.BytesIO()).read() if entry.isfile() else b""
            if entry.name in tables:
                data = data.replace(old.encode(), new.encode())
            entry.size = len(data)
            target.addfile(entry, io.BytesIO(data))
    return raw.getvalue()


def loaded(desk: Desk, raw: bytes) -> tuple[int, str]:
    reply = desk.ask("POST", f"{V}/images/load?quiet=0", raw, Content_Type="application/x-tar")
    return reply.status, reply.body.decode()


@pytest.mark.both
def test_an_own_image_is_saved_and_loaded(alice: Desk, bob: Desk, root: DockerClient) -> None:
    alice.must("run", "--name", "maker", "busybox", "sh", "-c", "echo made > /made")
    alice.must("commit", "maker", "alice/made:1")
    archive = saved(alice, "alice/made:1")
    alice.must("rm", "maker")
    alice.must("rmi", "alice/made:1")
    assert "alice/made:1" in alice.must("load", "-i", str(archive))
    assert alice.must("run", "--rm", "alice/made:1", "cat", "/made") == "made"
    assert bob.docker("run", "--rm", "alice/made:1", "cat", "/made").returncode == 125
    alice.must("rmi", "alice/made:1")
    packed = archive.with_suffix(".tar.gz")
    packed.write_bytes(gzip.compress(archive.read_bytes()))
    alice.must("load", "-i", str(packed))
    alice.must("tag", "busybox", "alice/made:1")
    alice.must("image", "prune", "--force")
    assert "alice/made:1" in root.call("GET", "/images/alice/made:1/json")["RepoTags"]
    alice.must("rmi", "alice/made:1")


@pytest.mark.both
def test_an_archive_never_changes_somebody_elses_name(alice: Desk, bob: Desk, root: DockerClient) -> None:
    alice.must("run", "--name", "maker", "busybox", "sh", "-c", "echo evil > /evil")
    alice.must("commit", "maker", "alice/evil:1")
    bob.must("tag", "busybox", "bob/tool:1")
    archive = saved(alice, "alice/evil:1")
    before = {name: root.call("GET", f"/images/{name}/json")["Id"] for name in ("busybox:latest", "bob/tool:1")}
    images = {one["Id"] for one in root.call("GET", "/images/json?all=1")}
    for name in (*before, "python:3", "bob/new:1"):
        for tables in (("manifest.json", "index.json", "repositories"), ("manifest.json",), ("index.json",)):
            raw = renamed(archive, "alice/evil:1", name, tables)
            if raw == renamed(archive, "alice/evil:1", "alice/evil:1", tables):
                continue
            status, said = loaded(alice, raw)
            assert (status, "the name is shared by everybody" in said) == (403, True), (name, tables, said)
    assert {name: root.call("GET", f"/images/{name}/json")["Id"] for name in before} == before
    assert {one["Id"] for one in root.call("GET", "/images/json?all=1")} == images
    for name in ("python:3", "bob/new:1"):
        assert root.find(f"/images/{name}/json") is None


def test_what_is_no_archive_is_refused_and_leaves_nothing(alice: Desk, root: DockerClient) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        entry = tarfile.TarInfo("../../../../../../tmp/escaped")
        archive.addfile(entry)
    status, said = loaded(alice, raw.getvalue())
    assert (status, "docker save" in json.loads(said)["message"]) == (400, True)
    assert loaded(alice, b"x" * 4096)[0] == 400
    assert loaded(alice, bytes(1024))[0] == 400
    assert alice.must("ps", "-aq") == ""


def test_saving_and_loading_what_is_there_changes_nothing(alice: Desk, root: DockerClient) -> None:
    before = root.call("GET", "/images/busybox/json")["Id"]
    archive = saved(alice, "busybox:latest")
    alice.must("load", "-i", str(archive))
    assert root.call("GET", "/images/busybox/json")["Id"] == before
    assert alice.must("run", "--rm", "busybox", "echo", "still") == "still"


def test_an_admin_loads_for_everybody(alice: Desk, boss: Desk) -> None:
    boss.must("tag", "busybox", "shared:1")
    archive = saved(boss, "shared:1")
    boss.must("rmi", "shared:1")
    boss.must("load", "-i", str(archive))
    assert alice.must("run", "--rm", "shared:1", "echo", "all") == "all"
    boss.must("rmi", "shared:1")
