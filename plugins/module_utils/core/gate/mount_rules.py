# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""All mounts of a new container, as the list that is forwarded: binds by ``bind_rules``, volumes by owner, anonymous ones labelled."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from . import bind_rules
from .case import Case
from .facts import Image, ImageFact, Question, VolumeFact
from .identity import OWNER_LABEL, UID_LABEL
from .image_names import canonical
from .mount_wishes import BindWish, ImageWish, TmpfsWish, VolumeWish, Wish, check_target
from .ownership import RESERVED_PREFIX, is_internal, owns, usable_image
from .storage_rules import volume_options
from .verdict import Effect, EnsureVolume, Stop

_IMAGE_MOUNTS_SINCE = (1, 48)


def questions(case: Case, wishes: Sequence[Wish]) -> list[Question]:
    """What has to be known before the wishes can be judged."""
    asked: list[Question] = []
    for wish in wishes:
        if isinstance(wish, BindWish):
            asked += bind_rules.questions(case, wish)
        elif isinstance(wish, VolumeWish) and wish.name is not None:
            asked.append(VolumeFact(wish.name))
        elif isinstance(wish, ImageWish):
            asked.append(ImageFact(canonical(wish.ref)))
    return asked


def owner_labels(case: Case) -> dict[str, str]:
    """The labels of a volume or network of the caller."""
    return {OWNER_LABEL: case.identity.user, UID_LABEL: str(case.identity.uid)}


def user_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """A client's labels for a volume or network, without those that only the gate writes."""
    return {key: value for key, value in labels.items() if not key.lower().startswith(RESERVED_PREFIX)}


def place(case: Case, wishes: Sequence[Wish]) -> tuple[list[dict[str, Any]], list[Effect]]:
    """The mounts for the wishes, and the effects they need, each once."""
    mounts: list[dict[str, Any]] = []
    effects: dict[str, Effect] = {}
    for wish in wishes:
        if isinstance(wish, BindWish):
            mount, needed = bind_rules.place(case, wish)
        elif isinstance(wish, VolumeWish):
            mount, needed = _volume(case, wish)
        elif isinstance(wish, TmpfsWish):
            mount, needed = _tmpfs(wish), []
        else:
            mount, needed = _image(case, wish), []
        mounts.append(mount)
        effects.update((repr(effect), effect) for effect in needed)
    return mounts, list(effects.values())


def anonymous(case: Case, config_volumes: Mapping[str, Any], image: Image, taken: Sequence[str]) -> list[dict[str, Any]]:
    """Mounts for the anonymous volumes of the request and of the image, so that they carry their owner's label."""
    wanted = [check_target(target, "Volumes") for target in config_volumes]
    # What an image declares is not the caller's mistake: an odd path is left to dockerd.
    declared = ("/" + posixpath.normpath(path).lstrip("/") for path in image.volumes if path.startswith("/") and ":" not in path)
    wanted += [path for path in declared if path != "/"]
    free = [target for target in dict.fromkeys(wanted) if target not in taken]
    return [_volume(case, VolumeWish(None, target))[0] for target in free]


def new_volumes(mounts: Sequence[Mapping[str, Any]], effects: Sequence[Effect]) -> int:
    """How many volumes of the caller's own come to be: named ones that are not there, and anonymous ones."""
    named = sum(isinstance(effect, EnsureVolume) and OWNER_LABEL in effect.labels for effect in effects)
    return named + len([mount for mount in mounts if mount["Type"] == "volume" and "Source" not in mount])


def _volume(case: Case, wish: VolumeWish) -> tuple[dict[str, Any], list[Effect]]:
    options: dict[str, Any] = {}
    mount: dict[str, Any] = {"Type": "volume", "Target": wish.target}
    effects: list[Effect] = []
    if wish.name is None:
        options["Labels"] = {**user_labels(wish.labels), **owner_labels(case)}
        if bound := volume_options(case):
            options["DriverConfig"] = {"Name": "local", "Options": bound}
    else:
        mount["Source"] = wish.name
        effects = _named(case, wish)
    if wish.no_copy:
        options["NoCopy"] = True
    if wish.subpath:
        options["Subpath"] = wish.subpath
    if wish.read_only:
        mount["ReadOnly"] = True
    if options:
        mount["VolumeOptions"] = options
    return mount, effects


def _named(case: Case, wish: VolumeWish) -> list[Effect]:
    name = wish.name or ""
    volume = case.facts.volume(name)
    if name.startswith(RESERVED_PREFIX) or (volume is not None and is_internal(volume)):
        raise Stop(
            403,
            f"volume {name} is refused: names that start with {RESERVED_PREFIX} belong to the server. Choose another name.",
            "volume-reserved",
        )
    if volume is None:
        return [EnsureVolume(name, {**user_labels(wish.labels), **owner_labels(case)}, volume_options(case))]
    if not owns(case.identity, volume.labels):
        raise foreign_volume(name)
    return []


def foreign_volume(name: str) -> Stop:
    """The answer when a name is somebody else's: dockerd would hand the volume over."""
    return Stop(
        409,
        f"volume name {name} is taken: it belongs to another user of this server. "
        "Choose another name; for compose set COMPOSE_PROJECT_NAME.",
        "foreign-volume",
    )


def _tmpfs(wish: TmpfsWish) -> dict[str, Any]:
    options = {key: value for key, value in (("SizeBytes", wish.size), ("Mode", wish.mode)) if value}
    return {"Type": "tmpfs", "Target": wish.target, **({"TmpfsOptions": options} if options else {})}


def _image(case: Case, wish: ImageWish) -> dict[str, Any]:
    if case.context.api_max < _IMAGE_MOUNTS_SINCE:
        raise Stop(
            400, "mounts of type image need Docker API 1.48 or newer; this server is older. Copy the files with docker cp.", "image-mount"
        )
    usable_image(case, wish.ref)
    options = {"ImageOptions": {"Subpath": wish.subpath}} if wish.subpath else {}
    return {"Type": "image", "Source": wish.ref, "Target": wish.target, **options}
