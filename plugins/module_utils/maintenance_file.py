# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whether the server is in maintenance: ``/etc/ds01/maintenance.json``, written by ``ds01 maintenance``, read before each start."""

from __future__ import annotations

import os

from . import json_state
from .core.maintenance import Maintenance, from_dict, to_dict

MAINTENANCE = "/etc/ds01/maintenance.json"


def load(path: str = MAINTENANCE) -> Maintenance | None:
    """The state, None where there is none. Raises StateError naming file and key."""
    document = json_state.read(path)
    try:
        return None if document is None else from_dict(document)
    except ValueError as error:
        raise json_state.StateError(f"{path}: {error}") from error


def save(state: Maintenance, path: str = MAINTENANCE) -> None:
    """Set it. Everybody may read it."""
    json_state.write(path, to_dict(state), 0o644)


def remove(path: str = MAINTENANCE) -> bool:
    """End it; False where there was none."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True
