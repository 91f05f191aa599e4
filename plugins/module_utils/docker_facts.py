# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Answers the gate's questions about the world: dockerd's objects over root's own socket, paths as the caller, mounts of bind roots."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote

from .caller_paths import CallerPaths, Rights
from .core.gate.default_network import is_default_network
from .core.gate.facts import (
    Answer,
    Bind,
    BindFact,
    Container,
    ContainerFact,
    Exec,
    ExecFact,
    Image,
    ImageFact,
    ImageSpaceFact,
    LegacyFact,
    Network,
    NetworkCountFact,
    NetworkFact,
    Question,
    Root,
    RootFact,
    RunningFact,
    Volume,
    VolumeCountFact,
    VolumeFact,
)
from .core.gate.identity import OWNER_LABEL
from .docker_upstream import DaemonRefused, DockerClient, label_filter, segment
from .image_tags import ImageTags
from .legacy_containers import LegacyContainers
from .own_images import OwnImages

_AMBIGUOUS = 400


def root_of(path: str) -> Root | None:
    """The real path of a bind root and the flags of its mount; None when there is no such directory."""
    real = os.path.realpath(path)
    try:
        flags = os.statvfs(real).f_flag
    except OSError:
        return None
    return Root(real, bool(flags & os.ST_NOSUID), bool(flags & getattr(os, "ST_NODEV", 4)))


class DockerFacts:
    """Looks facts up, anew each time: an inspect costs a tenth of a millisecond, and a name may mean another container a moment later."""

    def __init__(self, docker: DockerClient, paths: CallerPaths, tags: ImageTags) -> None:
        self._docker = docker
        self._paths = paths
        self._tags = tags
        self._legacy = LegacyContainers(docker)
        self._own_images = OwnImages(docker, tags)

    def answer(self, question: Question, rights: Rights) -> Answer:
        """The answer to one question; ``rights`` are the caller's. Raises DaemonUnavailable or DaemonRefused."""
        if isinstance(question, ContainerFact):
            return self._container(question.ref)
        if isinstance(question, ExecFact):
            return self._exec(question.id)
        if isinstance(question, VolumeFact):
            return self._volume(question.name)
        if isinstance(question, NetworkFact):
            return self._network(question.ref)
        if isinstance(question, ImageFact):
            return self._image(question.ref)
        if isinstance(question, BindFact):
            return self._bind(question.path, rights)
        if isinstance(question, RootFact):
            return root_of(question.path)
        if isinstance(question, RunningFact):
            return self._running(question)
        if isinstance(question, LegacyFact):
            return self._legacy.count(question.user, question.uid)
        if isinstance(question, NetworkCountFact):
            listed = self._docker.call("GET", f"/networks?{label_filter(f'{OWNER_LABEL}={question.user}')}")
            return sum(not is_default_network(one.get("Labels") or {}) for one in listed)
        if isinstance(question, VolumeCountFact):
            volumes = self._docker.call("GET", f"/volumes?{label_filter(f'{OWNER_LABEL}={question.user}')}")
            return len(volumes.get("Volumes") or ())
        if isinstance(question, ImageSpaceFact):
            return self._own_images.space(question.user, question.namespaces)
        raise TypeError(f"no way to answer {type(question).__name__}")

    def _container(self, ref: str) -> Container | None:
        found = self._meant(f"/containers/{segment(ref)}/json") if ref else None
        if found is None:
            return None
        networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
        labels = found["Config"].get("Labels") or {}
        return Container(
            found["Id"],
            found["Name"].lstrip("/"),
            labels,
            bool(found["State"]["Running"]),
            tuple(networks),
            found.get("HostConfig") or {},
            tuple(found.get("Mounts") or ()),
        )

    def _meant(self, target: str) -> Any:
        """What dockerd finds; None also where the beginning of an id fits several things, because that would tell of other people's."""
        try:
            return self._docker.find(target)
        except DaemonRefused as error:
            if error.status == _AMBIGUOUS:
                return None
            raise

    def _running(self, question: RunningFact) -> int:
        labelled = self._docker.call("GET", f"/containers/json?{label_filter(f'{OWNER_LABEL}={question.user}')}")
        return len(labelled) + self._legacy.running_unlabelled(question.user, question.uid)

    def _exec(self, exec_id: str) -> Exec | None:
        found = self._docker.find(f"/exec/{segment(exec_id)}/json") if exec_id else None
        return None if found is None else Exec(found["ID"], found["ContainerID"])

    def _volume(self, name: str) -> Volume | None:
        found = self._docker.find(f"/volumes/{segment(name)}") if name else None
        return None if found is None else Volume(found["Name"], found.get("Labels") or {}, found.get("Options") or {})

    def _network(self, ref: str) -> Network | None:
        found = self._meant(f"/networks/{segment(ref)}") if ref else None
        return None if found is None else Network(found["Id"], found["Name"], found.get("Labels") or {})

    def _image(self, ref: str) -> Image | None:
        found = self._docker.find(f"/images/{quote(ref, safe='/:@')}/json") if ref else None
        if found is None:
            return None
        config: dict[str, Any] = found.get("Config") or {}
        writer = self._tags.writer(ref)
        return Image(
            found["Id"],
            writer.user if writer else None,
            writer.admin if writer else False,
            tuple(config.get("Labels") or ()),
            tuple(config.get("Volumes") or ()),
            tuple(found.get("RepoTags") or ()),
            self._tags.maker(found["Id"]),
            tuple(config.get("ExposedPorts") or ()),
            str(found.get("Os") or ""),
            str(found.get("Architecture") or ""),
        )

    def _bind(self, path: str, rights: Rights) -> Bind:
        return self._paths.resolve(rights, path)
