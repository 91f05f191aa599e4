# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Headers of a tar as every reader takes them, read strictly and made anew: POSIX.1-1988 ustar, and pax records for sizes alone."""

from __future__ import annotations

BLOCK = 512
REGULAR, SYMLINK, DIRECTORY, PAX, PAX_GLOBAL = b"0", b"2", b"5", b"x", b"g"


class ArchiveRefused(Exception):
    """The archive is not one of ``docker save``; the message says where."""


def parse_header(header: bytes) -> tuple[bytes, str, int]:
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
    kind = header[156:157] if header[156:157] != b"\0" else REGULAR
    return kind, name.decode("ascii", "replace").removeprefix("./"), size


def _number(field: bytes) -> int:
    """An octal number, or GNU's base-256 for what is too large for that."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    if field[0] & 0x80:
        raise ValueError
    return int(field.strip(b" \0") or b"0", 8)


def link_target(header: bytes) -> str:
    """Where a link leads."""
    return header[157:257].split(b"\0", 1)[0].decode("ascii", "replace")


def pax_size(records: bytes) -> int | None:
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


def make_header(kind: bytes, name: str, size: int, target: str) -> bytes:
    """A ustar header; a size beyond eleven octal digits in base-256, which Go's archive/tar reads."""
    mode = b"0000755\0" if kind == DIRECTORY else b"0000644\0"
    length = f"{size:011o}\0".encode() if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    fields = [
        name.encode().ljust(100, b"\0"), mode, b"0000000\0", b"0000000\0", length, b"00000000000\0", b" " * 8,
        kind, target.encode().ljust(100, b"\0"), b"ustar\x0000", bytes(64), b"0000000\0", b"0000000\0", bytes(155), bytes(12),
    ]  # fmt: skip
    header = b"".join(fields)
    return header[:148] + f"{sum(header):06o}\0 ".encode() + header[156:]
