# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What ``docker load`` sends, read as it streams: which names the archive gives to which images.

An archive brings names of its own, and a name decides what the next person runs. So it is taken apart and put together again: dockerd gets
tar headers of this module's making, for the entries of ``docker save`` and no others, each once. What two readers of tar might see
differently (long names, links out of the archive, sparse files, a second header) is refused. Memory is bounded: only headers, the small
tables of names, and one hash at a time are held.

The layout: moby image/tarexport (manifest.json, <id>.json, <id>/layer.tar) and the OCI image layout (index.json, blobs/sha256/<digest>),
which ``docker save`` writes both at once since Docker 25. Tar: POSIX.1-1988 ustar headers, and pax records for sizes alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import strict_json
from .image_names import reference
from .tar_header import (
    BLOCK,
    DIRECTORY,
    PAX,
    PAX_GLOBAL,
    REGULAR,
    SYMLINK,
    ArchiveRefused,
    link_target,
    make_header,
    parse_header,
    pax_size,
)
from .verdict import Stop

MOST_TABLE = 4 * 1024 * 1024
MOST_PAX = 64 * 1024
MOST_ENTRIES = 20_000
MOST_NAMES = 100
MOST_HASHED = 4 * 1024 * 1024
_HEX = r"[0-9a-f]{64}"
_FILE_NAME = re.compile(
    rf"(?:manifest\.json|index\.json|oci-layout|blobs/sha256/{_HEX}|{_HEX}(?:\.json|\.tar)?|{_HEX}/(?:VERSION|json|layer\.tar))"
)
_DIRECTORY_NAME = re.compile(rf"(?:blobs|blobs/sha256|{_HEX})/?")
_LINK = re.compile(rf"\.\./{_HEX}/layer\.tar")
_DROPPED = "repositories"
_MANIFEST_KEYS = frozenset(("Config", "RepoTags", "Layers", "Parent", "LayerSources"))
_NAME_KEYS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


@dataclass(frozen=True)
class Named:
    """``ref`` (with its tag) is given to the image whose configuration has this digest (``sha256:…``), None where that can't be told."""

    ref: str
    image_id: str | None


@dataclass
class _Entry:
    name: str
    left: int
    padding: int
    kept: bytearray | None
    digest: Any
    forwarded: bool = True

    def take(self, some: memoryview) -> None:
        """Some of the file's contents."""
        self.left -= len(some)
        if self.kept is not None:
            self.kept += some
        if self.digest is not None:
            self.digest.update(some)


class ImageArchive:
    """Feed it the archive; it gives back what to forward. ``finish`` ends the archive and tells the names."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._entry: _Entry | None = None
        self._pax_size: int | None = None
        self._seen: set[str] = set()
        self._tables: dict[str, bytes] = {}
        self._digests: dict[str, str] = {}
        self._ended = False

    def feed(self, data: bytes | memoryview) -> list[bytes | memoryview]:
        """What of ``data`` is understood, as it is to be forwarded; contents of files are views of ``data``. Raises ArchiveRefused."""
        view = memoryview(data)
        at, out = 0, list[bytes | memoryview]()
        while True:
            entry = self._entry
            if entry is None:
                if self._ended:
                    if bytes(view[at:]).strip(b"\0"):
                        raise ArchiveRefused("something follows the end of the archive")
                    return out
                some = view[at : at + BLOCK - len(self._header)]
                self._header += some
                at += len(some)
                if len(self._header) < BLOCK:
                    return out
                if header := self._open_next():
                    out.append(header)
            elif entry.left:
                some = view[at : at + entry.left]
                if not some:
                    return out
                at += len(some)
                entry.take(some)
                if entry.forwarded:
                    out.append(some)
            elif entry.padding:
                size = min(entry.padding, len(view) - at)
                if not size:
                    return out
                at += size
                entry.padding -= size
                if entry.forwarded:
                    out.append(bytes(size))  # made anew
            else:
                self._close(entry)

    def finish(self) -> tuple[bytes, tuple[Named, ...]]:
        """The end of the archive, to be forwarded when the names are approved. Raises ArchiveRefused."""
        if not self._ended or self._entry is not None:
            raise ArchiveRefused("the archive breaks off")
        return bytes(2 * BLOCK), self._named()

    def _open_next(self) -> bytes:
        """What to forward for the header that has come; nothing for the end of the archive."""
        header = bytes(self._header)
        self._header.clear()
        if header == bytes(BLOCK):
            self._ended = True
            return b""
        return self._open(header)

    def _close(self, entry: _Entry) -> None:
        self._entry = None
        if entry.digest is not None:
            self._digests[entry.name] = f"sha256:{entry.digest.hexdigest()}"
        if entry.kept is not None:
            if entry.name == "":
                self._pax_size = pax_size(bytes(entry.kept))
            else:
                self._tables[entry.name] = bytes(entry.kept)

    def _open(self, header: bytes) -> bytes:
        """Begin an entry; its new header."""
        kind, name, size = parse_header(header)
        if kind in (PAX, PAX_GLOBAL):
            if kind == PAX_GLOBAL or self._pax_size is not None or size > MOST_PAX:
                raise ArchiveRefused("a pax header stands where none can")
            self._entry = _Entry("", size, -size % BLOCK, bytearray(), None, forwarded=False)
            return b""
        size = size if self._pax_size is None else self._pax_size
        self._pax_size = None
        plain = name.rstrip("/")
        if plain in self._seen:
            raise ArchiveRefused(f"{ascii(name)[:100]} is there twice")
        if len(self._seen) >= MOST_ENTRIES:
            raise ArchiveRefused(f"it has more than {MOST_ENTRIES} entries")
        self._seen.add(plain)
        target = ""
        if kind == DIRECTORY and _DIRECTORY_NAME.fullmatch(name) and not size:
            pass
        elif kind == SYMLINK and re.fullmatch(rf"{_HEX}/layer\.tar", name) and not size:
            target = link_target(header)
            if _LINK.fullmatch(target) is None:
                raise ArchiveRefused(f"{ascii(name)[:100]} is a link to {ascii(target)[:100]}")
        elif kind != REGULAR or not (_FILE_NAME.fullmatch(name) or name == _DROPPED):
            raise ArchiveRefused(f"{ascii(name)[:100]} does not belong into an archive of docker save")
        table = name in ("manifest.json", "index.json", _DROPPED)
        if table and size > MOST_TABLE:
            raise ArchiveRefused(f"{name} has {size} bytes; at most {MOST_TABLE}")
        kept = bytearray() if table else None
        digest = hashlib.sha256() if kind == REGULAR and not table and size <= MOST_HASHED else None
        forwarded = name != _DROPPED
        self._entry = _Entry(name, size, -size % BLOCK, kept, digest, forwarded)
        return make_header(kind, name, size, target) if forwarded else b""

    def _named(self) -> tuple[Named, ...]:
        """Every name that a reader of this archive could give, in either table."""
        named: dict[str, Named] = {}
        manifest = self._table("manifest.json")
        if not isinstance(manifest, list):
            raise ArchiveRefused("manifest.json is missing or no list; save the image with Docker and load that")
        for image in manifest:
            config = image.get("Config") if isinstance(image, dict) else None
            tags = image.get("RepoTags") if isinstance(image, dict) else None
            # Go's decoder takes ``repotags`` for RepoTags: no key but these.
            if (
                not isinstance(config, str)
                or not set(image) <= _MANIFEST_KEYS
                or not isinstance(tags, list | None)
                or not all(isinstance(tag, str) for tag in tags or ())
            ):
                raise ArchiveRefused("manifest.json does not say Config and RepoTags as docker save does")
            for tag in tags or ():
                ref = _reference(tag)
                if ref in named:
                    raise ArchiveRefused(f"manifest.json names {ref} twice")
                named[ref] = Named(ref, self._digests.get(config))
        for entry in _manifests(self._table("index.json")):
            for ref in _annotated(entry):
                named.setdefault(ref, Named(ref, None))
        if len(named) > MOST_NAMES:
            raise ArchiveRefused(f"it names {len(named)} images; at most {MOST_NAMES}")
        return tuple(named.values())

    def images(self) -> tuple[str, ...]:
        """The ids of the archive's images, as far as they can be told."""
        manifest = self._table("manifest.json")
        configs = [image.get("Config") for image in manifest if isinstance(image, dict)] if isinstance(manifest, list) else []
        return tuple(self._digests[config] for config in configs if isinstance(config, str) and config in self._digests)

    def _table(self, name: str) -> Any:
        if name not in self._tables:
            return None
        try:
            return strict_json.parse(self._tables[name])
        except strict_json.StrictJsonError as error:
            raise ArchiveRefused(f"{name}: {error}") from None


def _manifests(index: Any) -> list[Any]:
    """The manifests of index.json; none where there is no such table."""
    if index is None:
        return []
    found = index.get("manifests") if isinstance(index, dict) else None
    if not isinstance(found, list) or _misspelt(index, "manifests") or any(_misspelt(entry, "annotations") for entry in found):
        raise ArchiveRefused("index.json has no manifests as docker save writes them")
    return found


def _misspelt(value: Any, key: str) -> bool:
    """Whether Go's decoder could read ``key`` where a reader that minds the case does not."""
    return not isinstance(value, dict) or any(name != key and name.lower() == key for name in value)


def _annotated(entry: Any) -> list[str]:
    """The names that containerd would give to a manifest of index.json; a bare tag goes with the full name beside it."""
    annotations = entry.get("annotations") if isinstance(entry, Mapping) else None
    if annotations is None:
        return []
    if not isinstance(annotations, Mapping) or not all(isinstance(annotations.get(key, ""), str) for key in _NAME_KEYS):
        raise ArchiveRefused("index.json has annotations of another form")
    full, short = (annotations.get(key, "") for key in _NAME_KEYS)
    return [_reference(full or short)] if full or short else []


def _reference(name: str) -> str:
    try:
        return reference(name, "")
    except Stop as error:
        raise ArchiveRefused(str(error)) from None
