# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The path of a request: split strictly, matched against a template, rebuilt from it.

A literal of the path must stand there byte for byte. Percent escapes are decoded once, and only in names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

# The whole path: an optional version and segments without anything that two routers read differently.
_PATH = re.compile(r"(?:/v1\.(4[1-9]|5[01]))?((?:/(?:[A-Za-z0-9_.:@-]|%[0-9A-Fa-f]{2})+)+)/?")
_VERSION_LIKE = re.compile(r"/v[0-9]+(?:\.[0-9.]+)?(?:/|$)", re.IGNORECASE)
# dockerd's names of containers, networks and volumes (moby daemon/names), and image references (distribution/reference).
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_IMAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:@-]|/(?=[A-Za-z0-9])){0,511}")
_ID_LIKE = re.compile(r"[0-9a-f]{12,64}")


class BadPath(Exception):
    """The path cannot be understood; the message says why and ``status`` what to answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Path:
    """``version`` is (1, minor) or None; ``segments`` are still encoded."""

    version: tuple[int, int] | None
    segments: tuple[str, ...]


def parse_path(raw: str) -> Path:
    """The path in ``raw`` (without the query). Raises ``BadPath``."""
    match = _PATH.fullmatch(raw)
    if match is None or _VERSION_LIKE.match(match.group(2)):
        if _VERSION_LIKE.match(raw):
            raise BadPath(
                f"path {raw[:80]!r}: this server speaks API versions 1.41 to 1.51, written /v1.NN/…; "
                "let the client negotiate or set DOCKER_API_VERSION"
            )
        raise BadPath(f"path {raw[:80]!r} is not of the form /vX.YY/name/name")
    segments = tuple(match.group(2)[1:].split("/"))
    if any(segment in (".", "..") for segment in segments):
        raise BadPath(f"path {raw[:80]!r} contains '.' or '..'")
    if raw.endswith("/") and segments != ("networks",) and segments[0] != "debug":
        raise BadPath("page not found", 404)
    if "%" in segments[0]:
        raise BadPath(f"path {raw[:80]!r} has a percent escape outside a name")
    return Path((1, int(match.group(1))) if match.group(1) else None, segments)


def match_template(template: str, segments: tuple[str, ...]) -> Mapping[str, str] | None:
    """The encoded names that make ``template`` into ``segments``, or None. See ``route.Route`` for the words of a template."""
    parts = template.strip("/").split("/")
    names: dict[str, str] = {}
    at = 0
    for position, part in enumerate(parts):
        if part == "**":
            return names
        if part.endswith("*}"):
            tail = len(parts) - position - 1
            end = len(segments) - tail
            if end <= at:
                return None
            names[part[1:-2]] = "/".join(segments[at:end])
            at = end
            continue
        if at >= len(segments) or (part != segments[at] and not part.startswith("{")):
            return None
        if part.startswith("{"):
            names[part[1:-1]] = segments[at]
        at += 1
    return names if at == len(segments) else None


def decode_name(encoded: str, *, image: bool) -> str:
    """The name that stands percent-encoded in the path. Raises ``BadPath`` for what cannot be a name of that kind."""
    try:
        name = unquote_to_bytes(encoded).decode("utf-8")
    except UnicodeDecodeError:
        raise BadPath(f"name {encoded[:80]!r} is not UTF-8") from None
    if (is_image_name(name) if image else is_name(name)) is False:
        kind = "an image reference" if image else "a name or id (letters, digits, '_', '.', '-')"
        raise BadPath(f"{name[:80]!a} is not {kind}")
    return name


def is_name(name: str) -> bool:
    """Whether Docker could have a container, network or volume of that name or id."""
    return _NAME.fullmatch(name) is not None


def is_image_name(name: str) -> bool:
    """Whether that could be an image reference: repository, tag, digest or id."""
    return _IMAGE.fullmatch(name) is not None and ".." not in name


def looks_like_id(name: str) -> bool:
    """Whether a name could be taken for an id: such names are not given to anything new."""
    return _ID_LIKE.fullmatch(name) is not None


def rebuild(version: tuple[int, int] | None, template: str, names: Mapping[str, str]) -> str:
    """The path that ``template`` makes with ``names``, encoded, below ``version`` if given."""
    built = [] if version is None else [f"v{version[0]}.{version[1]}"]
    for part in template.strip("/").split("/"):
        name = part[1:-1].rstrip("*")
        built.append(quote(names[name], safe="/:@" if part.endswith("*}") else "") if part.startswith("{") else part)
    return "/" + "/".join(built)
