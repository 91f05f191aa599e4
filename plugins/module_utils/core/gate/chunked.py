# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The chunked transfer coding (RFC 9112, 7.1) without extensions and trailers: a decoder fed by pieces, and its inverse.

States: SIZE (the line with the size) → DATA → DATA_END (its CRLF) → SIZE …; a size of 0 leads to LAST (the final CRLF) and DONE.
"""

from __future__ import annotations

import re
from enum import Enum

_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
_LONGEST_SIZE_LINE = 10
LAST_CHUNK = b"0\r\n\r\n"


class BadChunk(Exception):
    """The body is not chunked as the standard says. The connection cannot be used any further."""


class _State(Enum):
    SIZE = 1
    DATA = 2
    DATA_END = 3
    LAST = 4
    DONE = 5


class ChunkDecoder:
    """Decodes one body. ``rest`` holds what came after the body's end: the start of the next request."""

    def __init__(self) -> None:
        self._state = _State.SIZE
        self._begun = b""
        self._left = 0
        self.rest = b""

    @property
    def done(self) -> bool:
        """Whether the last chunk has been read whole."""
        return self._state is _State.DONE

    def feed(self, data: bytes | memoryview) -> list[memoryview]:
        """The parts of the body in ``data``, as views of it: nothing is copied. Raises ``BadChunk``."""
        view = memoryview(data)
        at, parts = 0, []
        while self._state is not _State.DONE and at < len(view):
            if self._state is _State.DATA:
                part = view[at : at + self._left]
                parts.append(part)
                at += len(part)
                self._left -= len(part)
                if self._left == 0:
                    self._state = _State.DATA_END
                continue
            at = self._some_of_line(view, at)
        self.rest += bytes(view[at:])
        return parts

    def _some_of_line(self, view: memoryview, at: int) -> int:
        """Read on in the line that began in ``_begun``; where to go on. Raises on a line that is too long or not ended by CRLF."""
        longest = _LONGEST_SIZE_LINE if self._state is _State.SIZE else 2
        before = len(self._begun)
        seen = self._begun + bytes(view[at : at + longest - before])
        end = seen.find(b"\r\n")
        if end >= 0:
            self._begun = b""
            self._line(seen[:end])
            return at + end + 2 - before
        if len(seen) == longest or b"\n" in seen or b"\r" in seen[:-1]:
            raise BadChunk(f"chunked body: expected {'a size in hex and CRLF' if longest > 2 else 'CRLF'}, got {seen!r}")
        self._begun = seen
        return at + len(seen) - before

    def _line(self, line: bytes) -> None:
        if self._state is _State.SIZE:
            if _SIZE.fullmatch(line) is None:
                raise BadChunk(f"chunked body: {line!r} is not a size of at most eight hex digits without extension")
            self._left = int(line, 16)
            self._state = _State.DATA if self._left else _State.LAST
            return
        if line:
            raise BadChunk(f"chunked body: expected CRLF, got {line!r}")
        self._state = _State.SIZE if self._state is _State.DATA_END else _State.DONE


def encode_chunk(data: bytes) -> bytes:
    """``data`` as one chunk; nothing for no data, because an empty chunk would end the body."""
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""
