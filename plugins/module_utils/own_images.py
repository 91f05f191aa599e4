# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which of dockerd's images are a person's, and how much disk they fill. Layers of an image never change, so each is inspected once."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

from .core.image_space import SizedImage, space
from .docker_upstream import DockerClient
from .image_tags import ImageTags

_NO_NAME = "<none>:<none>"


class OwnImages:
    """One for the process."""

    def __init__(self, docker: DockerClient, tags: ImageTags) -> None:
        self._docker = docker
        self._tags = tags
        self._lock = threading.Lock()
        self._layers: dict[str, tuple[str, ...]] = {}

    def space(self, user: str, namespaces: Collection[str]) -> int:
        """Bytes that the images fill that the person made, or that have no other names than the person's.

        What has neither name nor maker counts for nobody, and nothing is built on it: what a failed build left. Raises as DockerClient.
        """
        own: list[SizedImage] = []
        others: list[SizedImage] = []
        listed: list[dict[str, Any]] = self._docker.call("GET", "/images/json")
        for image in listed:
            names = [name for name in image.get("RepoTags") or () if name != _NO_NAME]
            maker = self._tags.maker(image["Id"])
            mine = maker == user or (maker is None and bool(names) and all(name.partition("/")[0] in namespaces for name in names))
            if mine or names or maker is not None:
                (own if mine else others).append(SizedImage(int(image.get("Size") or 0), self._layers_of(image["Id"])))
        self._forget({str(image["Id"]) for image in listed})
        return space(own, others)

    def _layers_of(self, image: str) -> tuple[str, ...]:
        with self._lock:
            known = self._layers.get(image)
        if known is None:
            found = self._docker.find(f"/images/{image}/json") or {}
            known = tuple(str(layer) for layer in (found.get("RootFS") or {}).get("Layers") or ())
            if found:
                with self._lock:
                    self._layers[image] = known
        return known

    def _forget(self, present: Collection[str]) -> None:
        with self._lock:
            self._layers = {image: layers for image, layers in self._layers.items() if image in present}
