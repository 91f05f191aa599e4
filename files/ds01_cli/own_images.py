# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The caller's images: what the image store has below their name, joined with their definitions."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ds01.core.dockerfile import DESCRIPTION_LABEL, REVISION_LABEL, TITLE_LABEL
from ds01.core.gate.identity import Identity
from ds01.core.image_definition import BadDefinition, ImageDefinition, slug

from . import image_store
from .docker_calls import call, query
from .failure import Failure

FIRST_HUMAN_UID = 1000
MADE_NAME = re.compile(r".+-u\d+")
"""A name that core/user_names.py spelled, with the uid behind it."""


@dataclass(frozen=True)
class OwnImage:
    """One image. ``name`` is the person's own word for it; ``state`` is ``built``, ``changed`` (the definition, since), ``not built``,
    ``unreadable`` (the definition) or ``no definition`` (made with docker build)."""

    ref: str
    name: str
    state: str
    description: str = ""
    id: str = ""
    size: int | None = None
    created: float | None = None
    definition: ImageDefinition | None = None

    def document(self) -> dict[str, Any]:
        """The form of ``--json``."""
        plain = {key: getattr(self, key) for key in ("ref", "name", "state", "description", "id", "size", "created")}
        return {**plain, "definition": None if self.definition is None else self.definition.document()}


def namespace() -> str:
    """What the caller's image names begin with; the gate refuses others."""
    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        raise Failure(f"the user database knows no uid {uid}", "tell an administrator") from None
    return Identity(uid, user).namespaces[0]


def slug_of(name: str) -> str:
    """Docker's name for what a person calls an image, or for a whole reference of theirs (``alice/tool:latest``); raises Failure."""
    own = f"{namespace()}/"
    if name.startswith(own):
        name = name.removeprefix(own).removesuffix(":latest")
    try:
        return slug(name)
    except BadDefinition as error:
        raise Failure(error.why, error.instead) from None


def reference_of(name_slug: str) -> str:
    """The whole reference."""
    return f"{namespace()}/{name_slug}:latest"


def _built(entry: Mapping[str, Any], ref: str, definition: ImageDefinition | None, broken: bool) -> OwnImage:
    labels = entry.get("Labels") or {}
    if broken:
        state = "unreadable"
    elif definition is None:
        state = "no definition"
    else:
        state = "built" if labels.get(REVISION_LABEL) == definition.fingerprint() else "changed"
    name = definition.name if definition else labels.get(TITLE_LABEL) or ref.removeprefix(f"{namespace()}/").removesuffix(":latest")
    description = definition.description if definition else labels.get(DESCRIPTION_LABEL) or ""
    return OwnImage(ref, name, state, description, entry["Id"], int(entry["Size"]), float(entry["Created"]), definition)


def own_images() -> list[OwnImage]:
    """The caller's images and definitions, by name. Raises Failure."""
    own = f"{namespace()}/"
    entries = call("GET", f"/images/json?{query(filters={'reference': [f'{own}*']})}")
    refs = {tag: entry for entry in entries for tag in entry.get("RepoTags") or () if tag.startswith(own)}
    found = []
    definitions: dict[str, ImageDefinition | None] = {}
    for one in image_store.slugs():
        try:
            definitions[reference_of(one)] = image_store.read(one)
        except Failure:
            definitions[reference_of(one)] = None
    for ref, entry in refs.items():
        found.append(_built(entry, ref, definitions.get(ref), ref in definitions and definitions[ref] is None))
    for ref, definition in definitions.items():
        if ref not in refs:
            name = definition.name if definition else ref.removeprefix(own).removesuffix(":latest")
            description = definition.description if definition else ""
            found.append(OwnImage(ref, name, "not built" if definition else "unreadable", description, definition=definition))
    return sorted(found, key=lambda one: one.ref)


def _somebodys(tag: str) -> bool:
    """Whether the name is in a person's namespace: the gate would refuse to run it, whoever built it and with whatever label."""
    first, slash, _ = tag.partition("/")
    if not slash or "." in first or ":" in first:
        return False
    try:
        return pwd.getpwnam(first).pw_uid >= FIRST_HUMAN_UID
    except KeyError:
        return MADE_NAME.fullmatch(first) is not None


def shared_images() -> list[OwnImage]:
    """Images that everybody may run: not built here by somebody for themselves, which the gate's label tells, and not the caller's."""
    own = f"{namespace()}/"
    entries = call("GET", "/images/json")
    tags = ((tag, entry) for entry in entries for tag in entry.get("RepoTags") or ())
    return sorted(
        (
            OwnImage(
                tag, tag, "shared", (entry.get("Labels") or {}).get(DESCRIPTION_LABEL) or "", entry["Id"], entry["Size"], entry["Created"]
            )
            for tag, entry in tags
            if not tag.startswith(own) and not _somebodys(tag) and not (entry.get("Labels") or {}).get("ds01.user")
        ),
        key=lambda one: one.ref,
    )
