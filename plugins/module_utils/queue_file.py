# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The queue on disk: ``/var/lib/ds01/queue.json``, written by the gate alone, whole or not at all."""

from __future__ import annotations

import os

from . import json_state
from .core.queue_state import QueueState, from_dict, to_dict

QUEUE = "/var/lib/ds01/queue.json"
_ASIDE = ".damaged"


def load(path: str = QUEUE) -> QueueState:
    """The state, an empty one where there is no file. Raises StateError naming file and key, OSError."""
    document = json_state.read(path)
    if document is None:
        return QueueState()
    try:
        return from_dict(document)
    except ValueError as error:
        raise json_state.StateError(f"{path}: {error}") from error


def save(state: QueueState, path: str = QUEUE) -> None:
    """Replace it. Raises OSError; the file is then as it was."""
    json_state.write(path, to_dict(state), 0o600)


def set_aside(path: str = QUEUE) -> str:
    """Rename a damaged file, so that a new queue can begin and nothing is lost for whoever looks; returns its new name."""
    os.replace(path, path + _ASIDE)
    return path + _ASIDE
