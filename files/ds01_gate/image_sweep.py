# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Removes a person's own images that nothing uses, and answers as dockerd's prune does. Everybody else's stay.

dockerd's own prune can't be asked for that: labels of an image are inherited by what others build from it, so that they name the wrong
person. Who made an image is known from the answers to builds, commits, imports and loads (``image_tags``). What is in use, by any
container, or has got a name meanwhile that is not the person's, dockerd refuses to remove without force, and that is never used.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode

from ds01.core.gate.verdict import Answer, SweepImages
from ds01.docker_upstream import DaemonRefused, DockerClient
from ds01.image_tags import ImageTags, canonical


class ImageSweep:
    """One for the process."""

    def __init__(self, docker: DockerClient, tags: ImageTags) -> None:
        self._docker = docker
        self._tags = tags

    def sweep(self, wanted: SweepImages) -> Answer:
        """Remove and tell. Raises DaemonUnavailable and DaemonRefused."""
        deleted: list[dict[str, str]] = []
        reclaimed = 0
        for image in self._images(wanted, dangling=True):
            if self._tags.maker(image["Id"]) == wanted.user:
                gone = self._remove(image["Id"])
                deleted += gone
                reclaimed += _own_size(image) if gone else 0
        if wanted.tagged:
            used = {str(one["ImageID"]) for one in self._docker.call("GET", "/containers/json?all=1")}
            own = set(self._tags.written_by(wanted.user))
            for image in self._images(wanted, dangling=False):
                names = [name for name in image.get("RepoTags") or () if canonical(name) in own]
                if image["Id"] not in used:
                    gone = [line for name in names for line in self._remove(name)]
                    deleted += gone
                    reclaimed += _own_size(image) if any("Deleted" in line for line in gone) else 0
        self._tags.keep_made(self.present())
        return Answer(200, {"ImagesDeleted": deleted or None, "SpaceReclaimed": reclaimed}, wanted.rule)

    def present(self) -> set[str]:
        """The ids of all images."""
        return {str(image["Id"]) for image in self._docker.call("GET", "/images/json?all=1")}

    def _images(self, wanted: SweepImages, *, dangling: bool) -> Iterable[dict[str, Any]]:
        filters = {**wanted.filters, "dangling": [str(dangling).lower()]}
        listed: list[dict[str, Any]] = self._docker.call(
            "GET", f"/images/json?{urlencode({'shared-size': '1', 'filters': json.dumps(filters)})}"
        )
        return listed

    def _remove(self, name: str) -> list[dict[str, str]]:
        """What became of it; nothing where it is in use, or gone."""
        with contextlib.suppress(DaemonRefused):
            gone: list[dict[str, str]] = self._docker.call("DELETE", f"/images/{quote(name, safe='/:@')}")
            return gone
        return []


def _own_size(image: dict[str, Any]) -> int:
    """Bytes that no other image shares."""
    return max(int(image.get("Size") or 0) - max(int(image.get("SharedSize") or 0), 0), 0)
