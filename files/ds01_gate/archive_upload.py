# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The body of ``docker load`` on its way to dockerd: unpacked, taken apart, and ended only when the names in it are approved."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from ds01.core.gate.image_archive import ImageArchive, Named
from ds01.core.gate.tar_header import ArchiveRefused
from ds01.core.gate.verdict import Stop

Approve = Callable[[Sequence[Named], Sequence[str]], None]
"""Gets the names and the ids of the archive's images; raises for a name that may not be given."""
_GZIP = b"\x1f\x8b"
_AT_ONCE = 1024 * 1024


def checked(pieces: Iterable[bytes | memoryview], approve: Approve) -> Iterator[list[bytes | memoryview]]:
    """What to send; the pieces hold until the next list is asked for.

    Raises Stop (400) for what is no archive of docker save, and whatever ``approve`` raises, before the archive's end.
    """
    archive = ImageArchive()
    try:
        for piece in plain(pieces):
            understood = archive.feed(piece)
            if understood:
                yield understood
        end, names = archive.finish()
    except ArchiveRefused as error:
        raise Stop(400, f"the archive is refused: {error}.", "image-archive") from None
    approve(names, archive.images())
    yield [end]


def plain(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """The pieces, unpacked where they are gzip; never more than ``_AT_ONCE`` bytes at once, however well they are packed."""
    start, rest = b"", iter(pieces)
    while len(start) < len(_GZIP) and (some := next(rest, None)) is not None:
        start += some
    if not start.startswith(_GZIP):
        yield start
        yield from rest
        return
    unpacker = zlib.decompressobj(31)
    for piece in _chain(start, rest):
        while piece:
            if unpacker.eof:
                raise ArchiveRefused("something follows the end of the gzip file")
            try:
                unpacked = unpacker.decompress(piece, _AT_ONCE)
            except zlib.error as error:
                raise ArchiveRefused(f"it is no valid gzip file ({error})") from None
            piece = unpacker.unconsumed_tail or unpacker.unused_data
            if unpacked:
                yield unpacked
    if not unpacker.eof:
        raise ArchiveRefused("the gzip file breaks off")


def _chain(first: bytes, rest: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    yield first
    yield from rest
