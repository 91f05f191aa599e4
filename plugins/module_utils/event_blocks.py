# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Reads an event log block by block, from its beginning or its end: lines that cannot be asked for are passed over unread.

A block whose first and last line are both before, or both after, the span of a query is skipped by these two lines; nothing else is
concluded from the order of lines, because a clock that was set back leaves earlier times behind later ones. In a block the rarest of the
needles is looked for in the bytes, and only lines that have it are looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from .core.event import LINE_LIMIT
from .core.event_query import EventQuery, line_time, select

BLOCK = 256 * 1024


def matching(stream: BinaryIO, query: EventQuery, *, backward: bool = False) -> Iterator[dict[str, Any]]:
    """The events in an open log (a file, not a compressed stream) that ``query`` asks for; ``backward``: the last one first."""
    span = query.span()
    for start, end in _spans(stream, backward):
        if (query.since is None and query.until is None) or not _outside(stream, start, end, span):
            stream.seek(start)
            found = list(in_block(stream.read(end - start), query))
            yield from reversed(found) if backward else found


def matching_stream(stream: BinaryIO, query: EventQuery) -> Iterator[dict[str, Any]]:
    """The same for a stream that can only be read from its beginning."""
    rest = b""
    while piece := stream.read(BLOCK):
        head, newline, tail = (rest + piece).rpartition(b"\n")
        yield from in_block(head + newline, query)
        rest = tail if len(tail) <= LINE_LIMIT else b""  # longer is no line of ours
    yield from in_block(rest, query)


def in_block(block: bytes, query: EventQuery) -> Iterator[dict[str, Any]]:
    """The events of whole lines that are asked for, in order."""
    needles, span = query.needles(), query.span()
    if not needles:
        for line in block.splitlines():
            record = select(line, query, needles, span)
            if record is not None:
                yield record
        return
    rarest = min(needles, key=block.count) if len(needles) > 1 else needles[0]
    at = block.find(rarest)
    while at >= 0:
        begin = block.rfind(b"\n", 0, at) + 1
        end = block.find(b"\n", at)
        end = len(block) if end < 0 else end
        record = select(block[begin:end], query, needles, span)
        if record is not None:
            yield record
        at = block.find(rarest, end)


def _spans(stream: BinaryIO, backward: bool) -> Iterator[tuple[int, int]]:
    """Ranges of whole lines, together the whole file."""
    size = os.fstat(stream.fileno()).st_size
    if backward:
        end = size
        while end > 0:
            at = max(end - BLOCK, 0)
            while (start := _line_start(stream, at)) >= end:  # a line longer than a block
                at = max(at - BLOCK, 0)
            yield start, end
            end = start
    else:
        start = 0
        while start < size:
            end = _line_start(stream, start + BLOCK) if start + BLOCK < size else size
            end = min(end, size) if end > start else size
            yield start, end
            start = end


def _line_start(stream: BinaryIO, at: int) -> int:
    """Where the first line that begins at ``at`` or after it does; the end of the file where none does."""
    if at == 0:
        return 0
    stream.seek(at - 1)
    position = at - 1
    while piece := stream.read(LINE_LIMIT):
        newline = piece.find(b"\n")
        if newline >= 0:
            return position + newline + 1
        position += len(piece)
    return position


def _outside(stream: BinaryIO, start: int, end: int, span: tuple[bytes, bytes]) -> bool:
    stream.seek(start)
    first = line_time(stream.read(64))
    tail_at = max(end - 2 * LINE_LIMIT, start)
    stream.seek(tail_at)
    lines = stream.read(end - tail_at).splitlines()
    last = line_time(lines[-1]) if lines else first
    return (first < span[0] and last < span[0]) or (first > span[1] and last > span[1])
