# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The caller's containers, and which GPUs they hold: two questions to the gate, joined."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ds01.core.container_filter import BadFilter, Filters, Subject, parse_filters

from .docker_calls import call, query
from .failure import Failure
from .gate_client import ask

_UID_LABEL, _USER_LABEL = "ds01.uid", "ds01.user"
_PROJECT_LABELS = ("com.docker.compose.project", "devcontainer.local_folder")


@dataclass(frozen=True)
class OwnContainer:
    """One container. ``created`` is seconds since the epoch; ``status`` Docker's words (``Up 2 hours``); ``devices`` (UUID, profile)."""

    id: str
    name: str
    user: str
    image: str
    state: str
    status: str
    created: float
    project: str
    devices: tuple[tuple[str, str | None], ...]

    @property
    def subject(self) -> Subject:
        """What filters look at."""
        return Subject(self.name, self.state, self.image, self.devices, self.project)

    def gpu(self) -> str:
        """Its GPU devices in words; empty for none."""
        return ", ".join(profile or "full GPU" for _, profile in self.devices)

    def document(self) -> dict[str, Any]:
        """The form of ``--json``."""
        gpus = [{"gpu": uuid, "profile": profile} for uuid, profile in self.devices]
        plain = ("id", "name", "user", "image", "state", "status", "created", "project")
        return {**{key: getattr(self, key) for key in plain}, "gpus": gpus}


def filters_of(texts: Sequence[str]) -> Filters:
    """The filters of a command line; raises Failure."""
    try:
        return parse_filters(texts)
    except BadFilter as error:
        raise Failure(f"--filter {error}", error.instead) from None


def _container(entry: Mapping[str, Any], devices: Mapping[str, tuple[tuple[str, str | None], ...]]) -> OwnContainer:
    labels = entry.get("Labels") or {}
    name = next((one.lstrip("/") for one in entry.get("Names") or () if one.count("/") == 1), entry["Id"][:12])
    project = next((str(labels[key]).rstrip("/").rpartition("/")[2] for key in _PROJECT_LABELS if labels.get(key)), "")
    image = str(entry.get("Image") or "")
    return OwnContainer(
        entry["Id"],
        name,
        str(labels.get(_USER_LABEL) or ""),
        image.removeprefix("sha256:")[:12] if image.startswith("sha256:") else image,
        str(entry.get("State") or ""),
        str(entry.get("Status") or ""),
        float(entry.get("Created") or 0),
        project,
        devices.get(entry["Id"], ()),
    )


def own_containers(*, everyone: bool = False, states: Sequence[str] = ()) -> list[OwnContainer]:
    """The caller's containers, by name; ``everyone``'s for administrators; of these states only. Raises Failure."""
    wanted: dict[str, list[str]] = {} if everyone else {"label": [f"{_UID_LABEL}={os.getuid()}"]}
    if states:
        wanted["status"] = list(states)
    entries = call("GET", f"/containers/json?{query(all=True, filters=wanted or None)}")
    claims = ask("claims")["claims"]
    devices = {one["container_id"]: tuple((device["gpu"], device["profile"]) for device in one["devices"]) for one in claims}
    return sorted((_container(entry, devices) for entry in entries), key=lambda one: (one.user, one.name))
