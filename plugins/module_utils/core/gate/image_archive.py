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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import strict_json
from .image_names import reference
from .verdict import Stop

BLOCK = 512
MOST_TABLE = 4 * 1024 * 1024
MOST_PAX = 64 * 1024
MOST_ENTRIES = 20_000
MOST_NAMES = 100
MOST_HASHED = 4 * 1024 * 1024
_HEX = r"[0-9a-f]{64}"
_FILE = re.compile(
    rf"(?:manifest\.json|index\.json|oci-layout|blobs/sha256/{_HEX}|{_HEX}(?:\.json|\.tar)?|{_HEX}/(?:VERSION|json|layer\.tar))"
)
_DIRECTORY = re.compile(rf"(?:blobs|blobs/sha256|{_HEX})/?")
_LINK = re.compile(rf"\.\./{_HEX}/layer\.tar")
_DROPPED = "repositories"
_MANIFEST_KEYS = frozenset(("Config", "RepoTags", "Layers", "Parent", "LayerSources"))
_NAME_KEYS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_REGULAR, _SYMLINK, _DIRECTORY_TYPE, _PAX, _PAX_GLOBAL = b"0", b"2", b"5", b"x", b"g"


class ArchiveRefused(Exception):
    """The archive is not one of ``docker save``; the message says where."""


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


class ImageArchive:
    """Feed it the archive; it gives back what to forward. ``finish`` ends the archive and tells the names."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._entry: _Entry | None = None
        self._pax_size: int | None = None
        self._seen: set[str] = set()
        self._tables: dict[str, bytes] = {}
        self._digests: dict[str, str] = {}
        self._ended = False

    def feed(self, data: bytes) -> bytes:
        """What of ``data`` is understood, as it is to be forwarded. Raises ArchiveRefused."""
        self._buffer += data
        return b"".join(self._read())

    def finish(self) -> tuple[bytes, tuple[Named, ...]]:
        """The end of the archive, to be forwarded when the names are approved. Raises ArchiveRefused."""
        if not self._ended or self._entry is not None:
            raise ArchiveRefused("the archive breaks off")
        return bytes(2 * BLOCK), self._named()

    def _read(self) -> Iterator[bytes]:
        while True:
            if self._entry is not None:
                if self._entry.left or self._entry.padding:
                    if not self._buffer:
                        return
                    yield self._content(self._entry)
                else:
                    self._close(self._entry)
            elif self._ended:
                if self._buffer.strip(b"\0"):
                    raise ArchiveRefused("something follows the end of the archive")
                self._buffer.clear()
                return
            elif len(self._buffer) < BLOCK:
                return
            else:
                header = bytes(self._buffer[:BLOCK])
                del self._buffer[:BLOCK]
                if header == bytes(BLOCK):
                    self._ended = True
                else:
                    yield self._open(header)

    def _content(self, entry: _Entry) -> bytes:
        """Some of the entry's bytes, then of its padding, which is made anew."""
        if not entry.left:
            some = min(entry.padding, len(self._buffer))
            del self._buffer[:some]
            entry.padding -= some
            return bytes(some) if entry.forwarded else b""
        piece = bytes(self._buffer[: entry.left])
        del self._buffer[: len(piece)]
        entry.left -= len(piece)
        if entry.kept is not None:
            entry.kept += piece
        if entry.digest is not None:
            entry.digest.update(piece)
        return piece if entry.forwarded else b""

    def _close(self, entry: _Entry) -> None:
        self._entry = None
        if entry.digest is not None:
            self._digests[entry.name] = f"sha256:{entry.digest.hexdigest()}"
        if entry.kept is not None:
            if entry.name == "":
                self._pax_size = _pax_size(bytes(entry.kept))
            else:
                self._tables[entry.name] = bytes(entry.kept)

    def _open(self, header: bytes) -> bytes:
        """Begin an entry; its new header."""
        kind, name, size = _parse(header)
        if kind in (_PAX, _PAX_GLOBAL):
            if kind == _PAX_GLOBAL or self._pax_size is not None or size > MOST_PAX:
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
        if kind == _DIRECTORY_TYPE and _DIRECTORY.fullmatch(name) and not size:
            pass
        elif kind == _SYMLINK and re.fullmatch(rf"{_HEX}/layer\.tar", name) and not size:
            target = header[157:257].split(b"\0", 1)[0].decode("ascii", "replace")
            if _LINK.fullmatch(target) is None:
                raise ArchiveRefused(f"{ascii(name)[:100]} is a link to {ascii(target)[:100]}")
        elif kind != _REGULAR or not (_FILE.fullmatch(name) or name == _DROPPED):
            raise ArchiveRefused(f"{ascii(name)[:100]} does not belong into an archive of docker save")
        table = name in ("manifest.json", "index.json", _DROPPED)
        if table and size > MOST_TABLE:
            raise ArchiveRefused(f"{name} has {size} bytes; at most {MOST_TABLE}")
        kept = bytearray() if table else None
        digest = hashlib.sha256() if kind == _REGULAR and not table and size <= MOST_HASHED else None
        forwarded = name != _DROPPED
        self._entry = _Entry(name, size, -size % BLOCK, kept, digest, forwarded)
        return _header(kind, name, size, target) if forwarded else b""

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


def _parse(header: bytes) -> tuple[bytes, str, int]:
    """(type, name, size) of a ustar header. Raises ArchiveRefused."""
    if header[257:262] != b"ustar":
        raise ArchiveRefused("it is no tar of the ustar kind (a compressed one other than gzip has to be unpacked first)")
    total = sum(header[:148]) + 8 * 32 + sum(header[156:])
    try:
        if int(header[148:156].strip(b" \0") or b"-1", 8) != total:
            raise ArchiveRefused("a header's checksum is wrong")
        size = _number(header[124:136])
    except ValueError:
        raise ArchiveRefused("a header holds no number where one belongs") from None
    # A prefix makes names longer than any that belongs here; GNU tar keeps times in its place.
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    name = header[:100].split(b"\0", 1)[0]
    if prefix:
        raise ArchiveRefused(f"{ascii(name.decode('latin-1'))[:100]} has a longer name than docker save writes")
    kind = header[156:157] if header[156:157] != b"\0" else _REGULAR
    return kind, name.decode("ascii", "replace").removeprefix("./"), size


def _number(field: bytes) -> int:
    """An octal number, or GNU's base-256 for what is too large for that."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    if field[0] & 0x80:
        raise ValueError
    return int(field.strip(b" \0") or b"0", 8)


def _pax_size(records: bytes) -> int | None:
    """The size that pax records say; names and links may not be said there."""
    size: int | None = None
    while records:
        length = records.partition(b" ")[0]
        if not length.isdigit() or not 5 <= int(length) <= len(records) or records[int(length) - 1 : int(length)] != b"\n":
            raise ArchiveRefused("a pax header is damaged")
        key, _, value = records[len(length) + 1 : int(length) - 1].partition(b"=")
        if key in (b"path", b"linkpath") or key.startswith(b"GNU.sparse"):
            raise ArchiveRefused("a pax header gives a name or a sparse file")
        if key == b"size":
            if size is not None or not value.isdigit() or len(value) > 18:
                raise ArchiveRefused("a pax header gives no plain size")
            size = int(value)
        records = records[int(length) :]
    return size


def _header(kind: bytes, name: str, size: int, target: str) -> bytes:
    """A ustar header; a size beyond eleven octal digits in base-256, which Go's archive/tar reads."""
    mode = b"0000755\0" if kind == _DIRECTORY_TYPE else b"0000644\0"
    length = f"{size:011o}\0".encode() if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    fields = [
        name.encode().ljust(100, b"\0"), mode, b"0000000\0", b"0000000\0", length, b"00000000000\0", b" " * 8,
        kind, target.encode().ljust(100, b"\0"), b"ustar\x0000", bytes(64), b"0000000\0", b"0000000\0", bytes(155), bytes(12),
    ]  # fmt: skip
    header = b"".join(fields)
    return header[:148] + f"{sum(header):06o}\0 ".encode() + header[156:]
