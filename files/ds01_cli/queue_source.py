# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Who waits for a GPU: from the gate's file for root, through the gate for other administrators. For a picture, so nothing is raised."""

from __future__ import annotations

from typing import Any

from ds01 import queue_file
from ds01.core.v1_shared import queue
from ds01.json_state import StateError

from .failure import Failure
from .gate_client import ask


def read_queue(path: str = queue_file.QUEUE) -> dict[str, Any] | None:
    """The document of ``/ds01/v1/queue``; None where nobody knows. From the file the places are in the order of arrival."""
    try:
        waiters = queue_file.load(path).waiters
    except PermissionError:
        try:
            found: dict[str, Any] = ask("queue")
            return found
        except Failure:
            return None
    except (StateError, OSError):
        return None
    waiting = sorted((one for one in waiters if one.hold is None), key=lambda one: one.joined_at)
    places = [(one, 0, None) for one in waiters if one.hold is not None]
    return queue([*places, *((one, place, None) for place, one in enumerate(waiting, 1))], uid=0, admin=True)
