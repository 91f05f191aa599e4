# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a person was told lately: ``/var/lib/ds01/inbox/<uid>.jsonl``, one JSON object a line, readable by that person and root only.

The directory is root's, so nobody can put another thing in the place of a file. The file itself belongs to its reader: what stands in it
when it is written anew is taken as untrusted, read up to a bound, and is never more than the reader's own business.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .core.plain_words import plain

if TYPE_CHECKING:
    from .core.notices import Notice

INBOX = Path("/var/lib/ds01/inbox")
KEPT = 200
_READ_BYTES = 512 * 1024
_MODE = 0o400


@dataclass(frozen=True)
class Entry:
    """One message; ``at`` in seconds since the epoch, UTC; ``level`` as in ``core.notices.Notice``."""

    at: float
    level: str
    container: str | None
    text: str


def path_of(uid: int, directory: Path = INBOX) -> Path:
    """The file of a person."""
    return directory / f"{int(uid)}.jsonl"


def read(uid: int, directory: Path = INBOX) -> tuple[Entry, ...]:
    """The messages, oldest first; none where there is no file. Lines that are no messages are left out. Raises PermissionError."""
    try:
        handle = os.open(path_of(uid, directory), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ()
    with os.fdopen(handle, "rb") as stream:
        data = stream.read(_READ_BYTES)
    found = (_entry(line) for line in data.splitlines())
    return tuple(one for one in found if one is not None)


def _entry(line: bytes) -> Entry | None:
    try:
        record: Any = json.loads(line)
        container = record.get("container")
        return Entry(
            float(record["at"]), str(record["level"]), None if container is None else plain(str(container)), plain(str(record["text"]))
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def add(notice: Notice, directory: Path = INBOX) -> None:
    """Append a message; the oldest beyond ``KEPT`` go. Raises OSError."""
    from .file_set import write_atomically  # here, because reading is done at every login, and writing seldom

    kept = (*read(notice.uid, directory), Entry(notice.at, notice.level, notice.container, notice.text))[-KEPT:]
    lines = [json.dumps({"at": one.at, "level": one.level, "container": one.container, "text": one.text}) for one in kept]
    owner = notice.uid if os.geteuid() == 0 else os.geteuid()
    write_atomically(str(path_of(notice.uid, directory)), ("\n".join(lines) + "\n").encode(), _MODE, owner, os.getegid())
