# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a create request wants to mount, read from Binds, Mounts, Volumes and Tmpfs into one form. No decision on sources yet."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..refusal import Refusal
from .body_fields import check_count
from .path import is_image_name, is_name
from .verdict import Stop

# NVIDIA's "volume mounts" way of asking for devices (nvidia-container-toolkit, accept-nvidia-visible-devices-as-volume-mounts).
_GPU_TARGETS = ("/run/nvidia-container-devices", "/var/run/nvidia-container-devices")
_TMPFS_OPTION = re.compile(r"rw|ro|exec|noexec|nosuid|nodev|noatime|size=[0-9]+[kmgKMG%]?|mode=[0-7]{1,4}|uid=[0-9]{1,10}|gid=[0-9]{1,10}")
_BIND_MODES = frozenset(("", "rw", "ro", "nocopy", "cached", "delegated", "consistent", "private", "rprivate"))
MOST_MOUNTS = 100
_PROPAGATIONS = frozenset(("", "private", "rprivate"))


@dataclass(frozen=True)
class BindWish:
    """A directory or file of the host, as the client wrote it. ``create``: make a missing directory, as dockerd does for -v."""

    source: str
    target: str
    read_only: bool
    create: bool


@dataclass(frozen=True)
class VolumeWish:
    """A named volume, or an anonymous one (``name`` None)."""

    name: str | None
    target: str
    read_only: bool = False
    no_copy: bool = False
    subpath: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class TmpfsWish:
    """Memory mounted as a directory; ``size`` in bytes, 0 for the default."""

    target: str
    size: int
    mode: int


@dataclass(frozen=True)
class ImageWish:
    """The contents of an image, read-only."""

    ref: str
    target: str
    subpath: str


Wish = BindWish | VolumeWish | TmpfsWish | ImageWish


def read_wishes(host: Mapping[str, Any]) -> list[Wish]:
    """Everything in Binds and Mounts. Raises ``Stop`` (400) or ``Refusal`` (403), also for a target that is mounted on twice."""
    for field_name in ("Binds", "Mounts", "Tmpfs"):
        check_count(host.get(field_name, ()), MOST_MOUNTS, f"HostConfig.{field_name}")
    wishes = [_bind(text, f"HostConfig.Binds[{i}]") for i, text in enumerate(host.get("Binds", ()))]
    wishes += [_mount(item, f"HostConfig.Mounts[{i}]") for i, item in enumerate(host.get("Mounts", ()))]
    seen: set[str] = set()
    for wish in wishes:
        if wish.target in seen:
            raise Stop(400, f"Duplicate mount point: {wish.target}", "duplicate-mount")
        seen.add(wish.target)
    return wishes


def check_target(target: str, place: str) -> str:
    """``target`` normalised: an absolute path in the container, not its root. Raises ``Stop`` or ``Refusal``."""
    normal = "/" + posixpath.normpath(target).lstrip("/")
    if not target.startswith("/") or ":" in target or normal == "/":
        raise Stop(
            400,
            f"{place} has the target {ascii(target)[:80]}; expected an absolute path in the container other than /, without ':'.",
            "mount-target",
        )
    if normal.startswith(_GPU_TARGETS):
        raise Refusal(
            f"{place} on {normal} is refused",
            "mounting there is a way of asking for GPUs that is closed",
            "Use --gpus.",
            rule="gpu-volume-mount",
        )
    return normal


def check_tmpfs(items: Mapping[str, str]) -> dict[str, str]:
    """HostConfig.Tmpfs with checked targets and options."""
    for options in items.values():
        for option in options.split(",") if options else ():
            if _TMPFS_OPTION.fullmatch(option) is None:
                raise Refusal(
                    f"tmpfs option {ascii(option)[:40]} is refused",
                    "only size, mode, uid, gid, exec, noexec, nosuid, nodev, ro and rw are allowed",
                    "Leave it out.",
                    rule="tmpfs-option",
                )
    return {check_target(target, "HostConfig.Tmpfs"): options for target, options in items.items()}


def check_subpath(subpath: str, place: str) -> str:
    """A relative path that stays below its volume."""
    if subpath.startswith("/") or any(part in ("..", ".", "") for part in subpath.split("/") if subpath):
        raise Stop(400, f"{place}.Subpath is {ascii(subpath)[:80]}; expected a relative path without '..'.", "subpath")
    return subpath


def _bind(text: str, place: str) -> Wish:
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise Stop(400, f"{place} is {ascii(text)[:80]}; expected SOURCE:TARGET[:OPTIONS].", "bind-form")
    if len(parts) == 1:
        return VolumeWish(None, check_target(text, place))
    modes = parts[2].split(",") if len(parts) == 3 else []
    for mode in modes:
        if mode not in _BIND_MODES:
            raise Refusal(
                f"{place} with option {ascii(mode)[:30]} is refused",
                "shared propagation and relabelling change the host's own files and mounts",
                "Use ro, rw or nothing.",
                rule="bind-option",
            )
    source, target, read_only = parts[0], check_target(parts[1], place), "ro" in modes
    if source.startswith("/"):
        return BindWish(source, target, read_only, create=True)
    return VolumeWish(_volume_name(source, place), target, read_only, no_copy="nocopy" in modes)


def _mount(item: Mapping[str, Any], place: str) -> Wish:
    target = check_target(item.get("Target", ""), place)
    kind, source, read_only = item.get("Type", ""), item.get("Source", ""), item.get("ReadOnly", False)
    if kind == "bind":
        options = item.get("BindOptions", {})
        if options.get("Propagation", "") not in _PROPAGATIONS:
            raise Refusal(
                f"{place}.BindOptions.Propagation = {ascii(options['Propagation'])[:30]} is refused",
                "mounts of a container stay its own",
                "Use rprivate or nothing.",
                rule="bind-propagation",
            )
        if not source.startswith("/"):
            raise Stop(400, f"{place}.Source is {ascii(source)[:80]}; expected an absolute path.", "bind-form")
        return BindWish(source, target, read_only, create=options.get("CreateMountpoint", False))
    if kind == "volume":
        options = item.get("VolumeOptions", {})
        if options.get("DriverConfig", {}).get("Name", "local") != "local":
            raise Refusal(
                f"{place}.VolumeOptions.DriverConfig is refused", "only local volumes exist here", "Leave it out.", rule="volume-driver"
            )
        name = _volume_name(source, place) if source else None
        subpath = check_subpath(options.get("Subpath", ""), place)
        return VolumeWish(name, target, read_only, options.get("NoCopy", False), subpath, options.get("Labels", {}))
    if kind == "tmpfs":
        options = item.get("TmpfsOptions", {})
        if options.get("SizeBytes", 0) < 0 or not 0 <= options.get("Mode", 0) <= 0o7777:
            raise Stop(400, f"{place}.TmpfsOptions is out of range.", "tmpfs-option")
        return TmpfsWish(target, options.get("SizeBytes", 0), options.get("Mode", 0))
    if kind == "image":
        if not is_image_name(source):
            raise Stop(400, f"{place}.Source is {ascii(source)[:80]}; expected an image reference.", "image-mount")
        return ImageWish(source, target, check_subpath(item.get("ImageOptions", {}).get("Subpath", ""), place))
    if kind in ("npipe", "cluster"):
        raise Refusal(
            f"{place}.Type = {kind!r} is refused", "it does not exist on this server", "Use bind, volume or tmpfs.", rule="mount-type"
        )
    raise Stop(400, f"{place}.Type is {ascii(kind)[:30]}; expected bind, volume, tmpfs or image.", "mount-type")


def _volume_name(name: str, place: str) -> str:
    if not is_name(name) or len(name) < 2:
        raise Stop(
            400,
            f"{place} names the volume {ascii(name)[:80]}; expected letters, digits, '_', '.', '-', or an absolute path.",
            "volume-name",
        )
    return name
