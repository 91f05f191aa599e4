# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Images: readable by everybody, written below one's own name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..refusal import Refusal
from .body_fields import Table, check_count, read
from .case import Case
from .facts import Image, ImageFact
from .image_archive import Named
from .image_names import canonical, check_registry, check_writable, in_own_namespace, is_id, is_shared, reference
from .image_platform import check_pull
from .ownership import no_image, own_container, usable_image
from .path import is_image_name, is_name
from .rebuild import forward
from .storage_rules import check_images
from .verdict import Effect, Forward, OwnImage, RecordImage, Stop

_MOST_IMAGES = 50
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHANGE = re.compile(r"(?:CMD|ENTRYPOINT|EXPOSE|USER|VOLUME|WORKDIR|STOPSIGNAL)\s.*", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"(LABEL|ENV)\s+([A-Za-z0-9_.-]+)=(?:\"[^\"\\$]*\"|[^\s\"'\\$]*)", re.IGNORECASE)


def image(case: Case) -> Forward:
    """Inspect and history: every image is readable. What stands at a registry is, where policy lets images come from there."""
    if case.request.route.template.startswith("/distribution/"):
        check_registry(case, case.request.names["name"], "a look at")
    return forward(case)


def pull_or_import(case: Case) -> Forward:
    """docker pull, or docker import of an archive that the client sends."""
    query = case.request.query
    source, origin = query.get("fromSrc") or "", query.get("fromImage") or ""
    if source:
        return _import(case, source)
    if query.get("repo") or query.get("message") or query.get("changes"):
        raise Stop(400, "repo, message and changes belong to an import (fromSrc=-), not to a pull.", "pull")
    if not is_image_name(origin):
        raise Stop(400, f"fromImage is {ascii(origin)[:80]}; expected an image reference.", "image-name")
    tag, platform = query.get("tag") or "", query.get("platform") or None
    check_registry(case, origin, "pull of")
    if "@" in origin or ":" in tag:
        digest = tag if ":" in tag else origin.partition("@")[2]
        if _DIGEST.fullmatch(digest) is None or ("@" in origin and tag):
            raise Stop(400, f"fromImage {ascii(origin)[:120]} with tag {ascii(tag)[:80]} names no digest sha256:….", "image-name")
        check_pull(case, origin if "@" in origin else f"{origin}@{tag}", platform or "")
        return forward(case, params={"fromImage": origin, "tag": tag or None, "platform": platform})
    ref = reference(origin, tag)
    # Without a tag dockerd would pull all of them.
    params = {"fromImage": ref.rpartition(":")[0], "tag": ref.rpartition(":")[2], "platform": platform}
    if is_shared(case, ref) and not case.identity.admin:
        raise Refusal(
            f"pull of {ref} is refused",
            "administrators write that namespace for everybody",
            "Use it as it is (docker run), or pull by digest.",
            rule="image-shared",
        )
    check_pull(case, ref, platform or "")
    there = case.facts.image(ref)
    if there is not None and there.writer not in (None, case.identity.user) and not case.identity.admin:
        raise Refusal(
            f"pull of {ref} is refused",
            f"it would replace an image that {there.writer} made on this server",
            "Pull it by digest.",
            rule="foreign-image",
        )
    return forward(case, params=params, after=(RecordImage(ref, None),))


def _import(case: Case, source: str) -> Forward:
    if source != "-":
        raise Refusal(
            f"import from {ascii(source)[:80]} is refused",
            "the daemon would fetch the address as root",
            "Fetch the file yourself: docker import FILE NAME.",
            rule="import-url",
        )
    check_images(case, "docker import")
    query = case.request.query
    _check_changes(query.get("changes") or [])
    params = {
        "fromSrc": "-",
        "message": query.get("message") or None,
        "platform": query.get("platform") or None,
        "changes": query.get("changes"),
    }
    after: tuple[Effect, ...] = (OwnImage(case.identity.user),)
    if query.get("repo"):
        ref = reference(query["repo"], query.get("tag") or "")
        check_writable(case, ref, "import as")
        repository, _, tag = ref.rpartition(":")
        params.update(repo=repository, tag=tag)
        after = (RecordImage(ref, case.identity.user), *after)
    return forward(case, params=params, stream=True, after=after)


def load_images(case: Case) -> Forward:
    """docker load: the names that the archive brings are judged when they are known, before dockerd has all of it."""
    check_images(case, "docker load")
    return forward(case, stream=True, archive=True, after=(OwnImage(case.identity.user),))


def loaded_names(case: Case, names: Sequence[Named]) -> tuple[str, ...]:
    """The references that an archive may change, of all that it names. One that means the very same image already is not changed.

    Raises ``Refusal`` for a name that is not the caller's to write.
    """
    case.facts.require(*(ImageFact(one.ref) for one in names))
    changed = []
    for one in names:
        there = case.facts.image(one.ref)
        if there is None or one.image_id is None or there.id != one.image_id:
            check_writable(case, one.ref, "load of")
            changed.append(one.ref)
    return tuple(changed)


def tag_image(case: Case) -> Forward:
    """A new name for an image."""
    ref = reference(case.request.query.get("repo") or "", case.request.query.get("tag") or "")
    check_writable(case, ref, "tag")
    found = usable_image(case, case.request.names["name"])
    repository, _, tag = ref.rpartition(":")
    return forward(
        case,
        names={"name": found.id},
        params={"repo": repository, "tag": tag},
        after=(RecordImage(ref, case.identity.user),),
        object_id=found.id,
    )


def commit(case: Case) -> Forward:
    """An image from an own container."""
    query = case.request.query
    ref = query.get("container") or ""
    if not is_name(ref):
        raise Stop(400, f"container is {ascii(ref)[:80]}; expected a name or id.", "container-name")
    if case.body is not None:
        read(case.body, Table({}))
    _check_changes(query.get("changes") or [])
    found = own_container(case, ref)
    check_images(case, "docker commit")
    after: tuple[Effect, ...] = (OwnImage(case.identity.user),)
    params = {**query, "container": found.id, "repo": None, "tag": None}
    if query.get("repo"):
        name = reference(query["repo"], query.get("tag") or "")
        check_writable(case, name, "commit as")
        params["repo"], _, params["tag"] = name.rpartition(":")
        after = (RecordImage(name, case.identity.user), *after)
    return forward(case, params=params, body={}, after=after, object_id=found.id)


def _check_changes(changes: list[str]) -> None:
    """Dockerfile instructions of commit and import: each one line, and no label or variable that the gate writes."""
    for change in changes:
        assignment = _ASSIGNMENT.fullmatch(change.strip())
        key = assignment.group(2).lower() if assignment else ""
        if "\n" in change or (assignment is None and _CHANGE.fullmatch(change.strip()) is None):
            raise Refusal(
                f"change {ascii(change)[:80]} is refused",
                "it is not one plain CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR",
                "Write LABEL and ENV as KEY=VALUE, one each.",
                rule="image-change",
            )
        if key.startswith(("ds01.", "nvidia_")):
            raise Refusal(
                f"change {ascii(change)[:80]} is refused",
                "ds01.* labels and NVIDIA_* variables are the server's",
                "Leave it out.",
                rule="image-change",
            )


def _own_image(case: Case, ref: str, what: str) -> Image:
    """An image that is the caller's by all its names: made by them, or below their namespace."""
    found = case.facts.image(canonical(ref))
    if found is None:
        raise no_image(ref)
    if is_id(ref):
        known = bool(found.tags) or found.maker == case.identity.user
        mine = known and all(in_own_namespace(case.identity, tag) for tag in found.tags)
    else:
        mine = found.writer == case.identity.user or in_own_namespace(case.identity, ref)
    if not (case.identity.admin or mine):
        raise Refusal(
            f"{what} of image {ref} is refused",
            "it belongs to everybody or to somebody else",
            f"Yours are those below {case.identity.namespaces[0]}/.",
            rule="image-owner",
        )
    return found


def remove_image(case: Case) -> Forward:
    """An own name of an image; never by force."""
    ref = case.request.names["name"]
    _own_image(case, ref, "removal")
    force = case.request.query.get("force") if case.identity.admin else None
    return forward(case, params={**case.request.query, "force": force}, object_id=ref)


def push_image(case: Case) -> Forward:
    """An own image to a registry."""
    ref = case.request.names["name"]
    tag = case.request.query.get("tag") or ""
    if tag and (":" in ref.rpartition("/")[2] or "@" in ref):
        raise Stop(400, f"push of {ref} names a tag twice; expected it in the name or in the parameter tag.", "image-name")
    _own_image(case, f"{ref}:{tag}" if tag else ref, "push")
    return forward(case, object_id=ref)


def save_image(case: Case) -> Forward:
    """An image as an archive, unless somebody else made it."""
    ref = case.request.names["name"]
    usable_image(case, ref)
    return forward(case, object_id=ref)


def save_images(case: Case) -> Forward:
    """Several images as one archive."""
    names = case.request.query.get("names") or []
    if not names or not all(is_image_name(name) for name in names):
        raise Stop(400, "names holds no image references.", "image-name")
    check_count(names, _MOST_IMAGES, "names")
    case.facts.require(*(ImageFact(canonical(name)) for name in names))
    for name in names:
        usable_image(case, name)
    return forward(case)
