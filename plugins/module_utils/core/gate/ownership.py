# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whose a thing is. What belongs to somebody else does not exist: the answers are dockerd's own."""

from __future__ import annotations

from collections.abc import Mapping

from ..container_marks import Mark, marked
from .case import Case
from .facts import Container, Image, Network, Volume
from .identity import INTERNAL_LABEL, OWNER_LABEL, UID_LABEL, Identity
from .image_names import canonical
from .verdict import Stop

PREDEFINED_NETWORKS = frozenset(("bridge", "none", "host"))
RESERVED_PREFIX = "ds01."


def owns(identity: Identity, labels: Mapping[str, str]) -> bool:
    """Whether a thing with these labels is the person's, or the person an admin."""
    return identity.admin or (identity.user != "" and labels.get(OWNER_LABEL) == identity.user)


def legacy_mark(identity: Identity, labels: Mapping[str, str], name: str) -> Mark | None:
    """The mark of before the gate by which a container is that person's, or None."""
    mark = marked(labels, name, {identity.uid: identity.user}) if identity.user and UID_LABEL not in labels else None
    return mark if mark is not None and mark.uid == identity.uid else None


def owns_container(identity: Identity, container: Container) -> bool:
    """Whether a container is the person's, or the person an admin. The gate's own label beats every mark of before."""
    if UID_LABEL in container.labels or identity.admin:
        return owns(identity, container.labels)
    return legacy_mark(identity, container.labels, container.name) is not None


def no_container(ref: str) -> Stop:
    """dockerd's answer for a container that does not exist."""
    return Stop(404, f"No such container: {ref}", "not-yours")


def no_image(ref: str) -> Stop:
    """dockerd's answer for an image that does not exist; clients pull when they read it."""
    tagged = ref if ":" in ref.rpartition("/")[2] or "@" in ref else f"{ref}:latest"
    return Stop(404, f"No such image: {tagged}", "no-such-image")


def own_container(case: Case, ref: str) -> Container:
    """The caller's container that ``ref`` means; 404 otherwise."""
    container = case.facts.container(ref)
    if container is None or not owns_container(case.identity, container):
        raise no_container(ref)
    return container


def own_network(case: Case, ref: str) -> Network:
    """The caller's network that ``ref`` means; 404 otherwise, also for the predefined ones."""
    network = case.facts.network(ref)
    if network is None or network.name in PREDEFINED_NETWORKS or not owns(case.identity, network.labels):
        raise Stop(404, f"network {ref} not found", "not-yours")
    return network


def own_volume(case: Case, name: str) -> Volume:
    """The caller's volume of that name; 404 otherwise, also for those the gate keeps for itself."""
    volume = case.facts.volume(name)
    if volume is None or not owns(case.identity, volume.labels) or (is_internal(volume) and not case.identity.admin):
        raise Stop(404, f"get {name}: no such volume", "not-yours")
    return volume


def is_internal(volume: Volume) -> bool:
    """Whether the gate made this volume for bind mounts."""
    return INTERNAL_LABEL in volume.labels or volume.name.startswith(RESERVED_PREFIX)


def usable_image(case: Case, ref: str) -> Image:
    """The image that ``ref`` means, unless somebody else last wrote that reference: 404 when absent, 403 when written by another."""
    image = case.facts.image(canonical(ref))
    if image is None:
        raise no_image(ref)
    if image.writer not in (None, case.identity.user) and not image.writer_is_admin and not case.identity.admin:
        raise Stop(
            403,
            f"image {ref} is refused: it was last written on this server by {image.writer}, not by a registry or an admin. "
            f"Use the digest you mean ({image.id}), pull a fresh copy of another tag, or ask {image.writer}.",
            "foreign-image",
        )
    return image
