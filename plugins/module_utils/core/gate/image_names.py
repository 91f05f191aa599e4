# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Names of images: who may write which. All people share one image store, and a name decides what the next one runs."""

from __future__ import annotations

import re

from ..refusal import Refusal
from .case import Case
from .identity import Identity
from .verdict import Stop

# distribution/reference: domain and path components, tag.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(
    rf"(?:(?P<domain>(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::[0-9]+)?|[A-Za-z0-9-]+:[0-9]+|localhost))/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ID = re.compile(r"[0-9a-f]{7,64}")
# What the devcontainer CLI calls the images it builds.
_DEVCONTAINER = re.compile(r"vsc-[a-z0-9._-]+")


def reference(repository: str, tag: str) -> str:
    """``repository:tag`` in Docker's short form; ``tag`` may stand in ``repository`` already. 400 when it is no name of an image."""
    last = repository.rpartition("/")[2]
    if not tag and ":" in last:
        repository, _, tag = repository.rpartition(":")
    tag = tag or "latest"
    short = _short(repository)
    if _REPOSITORY.fullmatch(short) is None or _TAG.fullmatch(tag) is None or len(short) > 255 or _short(short) != short:
        raise Stop(400, f"{ascii(repository)[:120]} with tag {ascii(tag)[:60]} is not the name of an image.", "image-name")
    if _ID.fullmatch(short):
        raise Stop(400, f"image name {short} is refused: it looks like an image id. Choose another name.", "name-like-id")
    return f"{short}:{tag}"


def canonical(ref: str) -> str:
    """What to look an image up by: an id or a digest as it is, a name with its tag."""
    return ref if is_id(ref) or "@" in ref else reference(ref, "")


def registry_of(ref: str) -> str:
    """The registry that ``ref`` is pulled from: its domain, ``docker.io`` where it names none."""
    match = _REPOSITORY.match(ref.partition("@")[0])
    domain = (match["domain"] or "").lower() if match is not None else ""
    return "docker.io" if domain in ("", "index.docker.io", "registry-1.docker.io") else domain


def check_registry(case: Case, ref: str, what: str) -> None:
    """Nothing if policy lets images come from the registry of ``ref``, else ``Refusal``."""
    allowed, registry = case.context.registries, registry_of(ref)
    if allowed is None or registry in allowed or case.identity.admin:
        return
    raise Refusal(
        f"{what} {ascii(ref)[1:-1][:120]} is refused",
        f"policy lets images come from {', '.join(allowed) or 'nowhere'}, not from {registry}",
        "Use an image from there, or ask an administrator to bring this one.",
        rule="registry",
    )


def is_shared(case: Case, ref: str) -> bool:
    """Whether ``ref`` stands in a namespace that admins write for everybody."""
    return _short(ref).partition("/")[0] in case.context.shared_namespaces


def is_id(ref: str) -> bool:
    """Whether ``ref`` names an image by its id or a prefix of it, so that other names of the image are meant, too."""
    return ref.startswith("sha256:") or _ID.fullmatch(ref) is not None


def _short(repository: str) -> str:
    """Without what Docker adds itself: its own registry's names and, before a single component, ``library/``."""
    for domain in ("docker.io/", "index.docker.io/"):
        if repository.startswith(domain):
            repository = repository[len(domain) :]
            break
    official = repository.removeprefix("library/")
    return repository if "/" in official else official


def in_own_namespace(identity: Identity, ref: str) -> bool:
    """Whether ``ref`` stands below the person's own first component."""
    short = _short(ref)
    return short.partition("/")[0] in identity.namespaces and "/" in short


def check_writable(case: Case, ref: str, what: str) -> None:
    """Nothing if the caller may write ``ref``, else ``Refusal``.

    That is: below their own namespace, an unused or own name at a registry or of the devcontainer CLI, or anything as admin.
    """
    if case.identity.admin or (in_own_namespace(case.identity, ref) and not is_shared(case, ref)):
        return
    match = _REPOSITORY.fullmatch(ref.rpartition(":")[0])
    if match is not None and not is_shared(case, ref) and (match["domain"] or _DEVCONTAINER.fullmatch(match["path"])):
        image = case.facts.image(ref)
        if image is None or image.writer == case.identity.user:
            return
    namespace = case.identity.namespaces[0]
    raise Refusal(
        f"{what} {ref} is refused",
        "the name is shared by everybody on this server, who would run your image",
        f"Use {namespace}/{ref.rpartition('/')[2]}.",
        rule="image-name",
    )
