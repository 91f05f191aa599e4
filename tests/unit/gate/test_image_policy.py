# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What policy says of images: from which registries they come, and which namespaces admins write for everybody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ds01.core.gate.image_names import registry_of
from ds01.core.gate.verdict import Answer, Forward
from tests.unit.gate.gate_world import ADMIN, CONTEXT, World

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
