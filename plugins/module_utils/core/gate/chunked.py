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
        self._buffer = b""
        self._left = 0

    @property
    def done(self) -> bool:
        """Whether the last chunk has been read whole."""
        return self._state is _State.DONE

    @property
    def rest(self) -> bytes:
        """Bytes behind the end of the body; empty until then."""
        return self._buffer if self.done else b""

    def feed(self, data: bytes) -> bytes:
        """The part of the body that ``data`` completes. Raises ``BadChunk``."""
        if self.done:
            self._buffer += data
            return b""
        buffer = self._buffer + data if self._buffer else data
        at, out = 0, []
        while self._state is not _State.DONE:
            if self._state is _State.DATA:
                piece = buffer[at : at + self._left]
                if not piece:
                    break
                out.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left == 0:
                    self._state = _State.DATA_END
                continue
            line_end = self._line_end(buffer, at)
            if line_end < 0:
                break
            self._line(buffer[at:line_end])
            at = line_end + 2
        self._buffer = buffer[at:]
        return b"".join(out)

    def _line_end(self, buffer: bytes, at: int) -> int:
        """Where the CRLF of the line at ``at`` stands, -1 if it has not come. Raises on a line that is too long or not ended by CRLF."""
        longest = _LONGEST_SIZE_LINE if self._state is _State.SIZE else 2
        seen = buffer[at : at + longest]
        end = seen.find(b"\r\n")
        if end < 0 and (len(seen) == longest or b"\n" in seen or b"\r" in seen[:-1]):
            raise BadChunk(f"chunked body: expected {'a size in hex and CRLF' if longest > 2 else 'CRLF'}, got {seen!r}")
        return at + end if end >= 0 else -1

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
