# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Small JSON files that one program of the platform writes, whole or not at all, and others read."""

from __future__ import annotations

import json
import os
from typing import Any


class StateError(ValueError):
    """A file is there and is not what it ought to be; the message names the file."""


def read(path: str) -> Any:
    """What stands in the file, None where there is none. Raises StateError for what is not JSON, OSError for what can't be read."""
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except FileNotFoundError:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StateError(f"{path}: not JSON ({error})") from error


def write(path: str, document: Any, mode: int = 0o640, uid: int | None = None) -> None:
    """Replace the file; ``uid`` None: it belongs to the caller. Raises OSError."""
    from .file_set import write_atomically  # here, because reading is done at every login, and writing seldom

    owner = os.geteuid() if uid is None or os.geteuid() != 0 else uid
    write_atomically(path, (json.dumps(document) + "\n").encode(), mode, owner, os.getegid())
