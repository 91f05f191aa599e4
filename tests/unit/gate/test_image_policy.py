# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What policy says of images: from which registries they come, and which namespaces admins write for everybody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ds01.core.gate.facts import Image
from ds01.core.gate.image_names import registry_of
from ds01.core.gate.verdict import Answer, Forward
from tests.unit.gate.gate_world import ADMIN, CONTEXT, World, status_of

V = "/v1.45"
HERE = World(context=replace(CONTEXT, registries=("docker.io", "ghcr.io"), shared_namespaces=("lab", "nvcr.io", "alice2")))


@pytest.mark.parametrize(
    ("ref", "registry"),
    [
        ("python", "docker.io"),
        ("python:3.12", "docker.io"),
        ("bob/x", "docker.io"),
        ("docker.io/library/python", "docker.io"),
        ("index.docker.io/x/y", "docker.io"),
        ("ghcr.io/a/b:1", "ghcr.io"),
        ("GHCR.io/a/b", "ghcr.io"),
        ("localhost/x", "localhost"),
        ("evil:5000/x", "evil:5000"),
        ("ghcr.io.evil.example/x@sha256:" + "0" * 64, "ghcr.io.evil.example"),
        ("ghcr.io:80/x", "ghcr.io:80"),
    ],
)
def test_the_registry_of_a_name(ref: str, registry: str) -> None:
    assert registry_of(ref) == registry


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("/images/create?fromImage=python&tag=3.12", None),
        ("/images/create?fromImage=ghcr.io/a/b&tag=1", None),
        ("/images/create?fromImage=ghcr.io/a/b@sha256:" + "0" * 64, None),
        ("/images/create?fromImage=evil.example/x&tag=1", "registry"),
        ("/images/create?fromImage=evil:5000/x&tag=sha256:" + "0" * 64, "registry"),
        ("/images/create?fromImage=ghcr.io.evil.example/x", "registry"),
        ("/images/create?fromImage=localhost/x", "registry"),
        ("/images/create?fromImage=lab/torch&tag=1", "image-shared"),
        ("/images/create?fromImage=docker.io/lab/torch", "image-shared"),
        ("/images/bbx/tag?repo=lab/torch", "image-name"),
        ("/images/bbx/tag?repo=nvcr.io/x", "image-name"),
        ("/images/bbx/tag?repo=ghcr.io/x/y", None),
        ("/commit?container=mine&repo=lab/torch", "image-name"),
        ("/build?t=lab/torch", "image-name"),
    ],
)
def test_who_may_bring_what(target: str, rule: str | None) -> None:
    verdict = HERE.ask("POST", V + target)
    assert (verdict.rule if isinstance(verdict, Answer) else None) == rule
    assert isinstance(HERE.as_(ADMIN).ask("POST", V + target), Forward)


def test_a_registry_is_not_asked_about_what_may_not_come() -> None:
    assert isinstance(HERE.ask("GET", V + "/distribution/ghcr.io/a/b/json"), Forward)
    assert isinstance(HERE.ask("GET", V + "/distribution/evil.example/x/json"), Answer)
    assert isinstance(World().ask("GET", V + "/distribution/evil.example/x/json"), Forward)


def test_a_shared_namespace_beats_a_name() -> None:
    """Somebody whose name is that of a shared namespace does not write it by that."""
    there = replace(HERE, context=replace(CONTEXT, shared_namespaces=("alice",)))
    assert isinstance(there.ask("POST", V + "/images/bbx/tag?repo=alice/x2"), Answer)
    assert isinstance(there.ask("POST", V + "/images/bbx/tag?repo=ds01-u5001/x2"), Forward)
    assert isinstance(World().ask("POST", V + "/images/bbx/tag?repo=alice/x2"), Forward)


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/x86_64", "amd64", "AMD64", "linux", "linux/amd64/v1", ""])
@pytest.mark.parametrize("target", ["/images/create?fromImage=bbx", "/build?t=alice/x"])
def test_the_servers_own_platform_is_fetched_whatever_it_is_called(target: str, platform: str) -> None:
    assert isinstance(World().ask("POST", f"{V}{target}&platform={platform}"), Forward)


def test_another_platform_goes_where_nobody_else_looks() -> None:
    """Into the person's own namespace, and through BuildKit, which names no base; admins write what they like."""
    verdict = World().ask("POST", f"{V}/images/create?fromImage=alice/x&tag=arm&platform=linux/arm64")
    assert isinstance(verdict, Forward)
    assert "platform=linux%2Farm64" in verdict.target
    guarded = World(context=replace(CONTEXT, buildkit_allowed=True))
    assert isinstance(guarded.ask("POST", f"{V}/build?version=2&remote=client-session&platform=linux/arm64&t=alice/x"), Forward)
    assert isinstance(World().as_(ADMIN).ask("POST", f"{V}/images/create?fromImage=bbx&platform=linux/arm64"), Forward)
    refused = World().ask("POST", f"{V}/images/create?fromImage=ghcr.io/a/b&tag=1&platform=linux/arm64")
    assert isinstance(refused, Answer)
    assert "docker tag ghcr.io/a/b@sha256:DIGEST alice/b" in refused.body["message"]


def test_on_another_server_the_other_platform_is_the_own() -> None:
    arm = World(context=replace(CONTEXT, platform=("linux", "arm64")))
    for platform, status in (("linux/arm64/v8", 200), ("aarch64", 200), ("linux/amd64", 403), ("linux/arm/v7", 403)):
        assert status_of(arm.ask("POST", f"{V}/images/create?fromImage=bbx&platform={platform}")) == status, platform


def test_an_image_of_another_platform_is_not_run_unawares() -> None:
    there = World()
    there.images["python"] = Image("sha256:" + "1" * 64, system="linux", architecture="arm64")
    there.images["alice/arm"] = Image("sha256:" + "2" * 64, writer="alice", system="linux", architecture="arm64")
    there.images["native"] = Image("sha256:" + "3" * 64, system="linux", architecture="amd64")

    def create(image: str, platform: str = "") -> int:
        return status_of(there.ask("POST", f"{V}/containers/create?platform={platform}", {"Image": image}))

    assert [create("python"), create("python", "linux/arm64"), create("sha256:" + "1" * 64)] == [403, 200, 200]
    assert [create("alice/arm"), create("native"), create("bbx")] == [200, 200, 200]
    told = there.create(Image="python")
    assert isinstance(told, Answer)
    assert told.body["message"].endswith("docker pull python")
