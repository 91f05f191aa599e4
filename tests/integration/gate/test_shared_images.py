# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Attacks on the store of images that all people share: a name must go on meaning what it meant, whoever writes beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ds01.docker_upstream import DockerClient, Link
from tests.integration.gate.people import Desk

V = "/v1.45"
ELSEWHERE = "linux/arm64"


@pytest.fixture
def foreign_platform(root: DockerClient) -> Iterator[str]:
    """An image of another platform under a name that everybody uses, as a Dockerfile with FROM --platform leaves it."""
    link = Link(root.path, 30)
    link.send(
        f"POST {V}/images/create?fromSrc=-&repo=shared&tag=1&platform={ELSEWHERE}&changes=CMD%20sh HTTP/1.1\r\nHost: d\r\n"
        f"Content-Type: application/x-tar\r\nContent-Length: 1024\r\n\r\n".encode()
        + b"\0" * 1024
    )
    said = b"".join(link.body(link.response("POST")))
    link.close()
    assert b"sha256:" in said, said
    yield "shared:1"
    root.call("DELETE", "/images/shared:1?force=1")


def test_a_pull_of_another_platform_leaves_the_name_alone(alice: Desk, root: DockerClient) -> None:
    before = root.call("GET", "/images/busybox/json")["Id"]
    for query in ("fromImage=busybox&tag=latest", "fromImage=docker.io/library/busybox", f"fromImage=busybox@sha256:{'0' * 64}"):
        reply = alice.ask("POST", f"{V}/images/create?{query}&platform={ELSEWHERE}")
        assert reply.status == 403, query
        assert "docker tag" in reply.message
    done = alice.docker("pull", "--platform", ELSEWHERE, "busybox")
    assert done.returncode != 0
    assert "this server is linux/amd64" in done.stderr
    assert alice.ask("POST", f"{V}/build?t=alice/x&platform={ELSEWHERE}", b"\0" * 1024, Content_Type="application/x-tar").status == 403
    assert root.call("GET", "/images/busybox/json")["Id"] == before


@pytest.mark.both
def test_an_image_of_another_platform_is_not_run_unawares(alice: Desk, foreign_platform: str) -> None:
    done = alice.docker("run", "--rm", foreign_platform)
    assert done.returncode == 125
    assert f"docker pull {foreign_platform}" in done.stderr
    alice.must("create", "--platform", ELSEWHERE, foreign_platform)
