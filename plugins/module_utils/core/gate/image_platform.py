# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Images of another platform than the server's. dockerd keeps one image behind a name, so that whoever pulls another platform's replaces
what everybody runs under that name."""

from __future__ import annotations

from ..refusal import Refusal
from .case import Case
from .facts import Image
from .image_names import in_own_namespace, is_id, is_shared

# containerd/platforms normalizeArch: what clients call the same thing.
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}
_PLAIN_VARIANTS = {"amd64": "v1", "arm64": "v8"}


def parsed(text: str) -> tuple[str, str] | None:
    """(system, architecture) of a platform as clients write it, ``linux/x86_64`` or ``arm64/v8``; None for any other variant or form."""
    parts = text.strip().lower().split("/")
    if len(parts) == 1:
        parts = ["linux", *parts] if parts[0] != "linux" else []
    if len(parts) == 3 and _PLAIN_VARIANTS.get(_ARCHITECTURES.get(parts[1], parts[1])) == parts[2]:
        parts = parts[:2]
    if len(parts) != 2 or not all(parts):
        return None
    return parts[0], _ARCHITECTURES.get(parts[1], parts[1])


def is_own(case: Case, text: str) -> bool:
    """Whether a platform that a client asks for is surely the server's; asking for none is."""
    return not text or text.strip().lower() == "linux" or parsed(text) == case.context.platform


def check_pull(case: Case, ref: str, platform: str) -> None:
    """Nothing for the server's own platform, or a name that only the caller's containers run; else ``Refusal``.

    A digest of several platforms is such a name, too: dockerd remembers one image behind it.
    """
    if is_own(case, platform) or case.identity.admin:
        return
    digest = "@" in ref
    if not digest and in_own_namespace(case.identity, ref) and not is_shared(case, ref):
        return
    bare = ref.partition("@")[0].rpartition(":")[0] if not digest else ref.partition("@")[0]
    own = f"{case.identity.namespaces[0]}/{bare.rpartition('/')[2]}"
    raise Refusal(
        f"pull of {ref} for {ascii(platform)[1:-1][:40]} is refused",
        f"everybody here runs what that name means, and this server is {'/'.join(case.context.platform)}",
        f"Find that platform's own digest (docker manifest inspect {ref}), pull it without --platform and name it: "
        f"docker pull {bare}@sha256:DIGEST && docker tag {bare}@sha256:DIGEST {own}",
        rule="image-platform",
    )


def check_build(case: Case, platform: str) -> None:
    """The classic builder pulls what ``FROM`` names for that platform, under its name: ``Refusal`` for any but the server's own."""
    if is_own(case, platform) or case.identity.admin:
        return
    raise Refusal(
        f"build for {ascii(platform)[1:-1][:40]} is refused",
        f"this builder would replace the base image for everybody, and this server is {'/'.join(case.context.platform)}",
        "Use BuildKit, which keeps bases to itself: docker buildx build --platform ...",
        rule="image-platform",
    )


def check_use(case: Case, ref: str, image: Image, platform: str) -> None:
    """Nothing if the image is for this server, or the caller asks for its platform, by its id or by a name of their own; else ``Refusal``.

    A Dockerfile with ``FROM --platform`` that nobody here reads may have brought it.
    """
    if not image.architecture or platform or is_id(ref) or "@" in ref or case.identity.admin or in_own_namespace(case.identity, ref):
        return
    if (image.system or "linux", image.architecture) == case.context.platform:
        return
    raise Refusal(
        f"image {ref} is refused",
        f"it is for {image.system or 'linux'}/{image.architecture}, and this server is {'/'.join(case.context.platform)}",
        f"Fetch the right one: docker pull {ref}",
        rule="image-platform",
    )
