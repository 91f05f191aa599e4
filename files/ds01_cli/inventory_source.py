# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The watcher's inventory of GPU workloads: from its file for root, through the gate for other administrators."""

from __future__ import annotations

import time
from typing import Any

from ds01 import json_state
from ds01.gpu_use import INVENTORY

from .failure import Failure
from .gate_client import ask

OLD_S = 60.0


def read_inventory(path: str = INVENTORY) -> dict[str, Any]:
    """The published document. Raises Failure with a next step."""
    try:
        document = json_state.read(path)
    except PermissionError:
        found: dict[str, Any] = ask("workloads")
        return _aged(found)
    except (json_state.StateError, OSError) as error:
        raise Failure(f"{path}: {error}", "systemctl status ds01-watch") from None
    if not isinstance(document, dict) or "workloads" not in document:
        raise Failure(f"{path} is not there: the watcher has published nothing since boot", "systemctl status ds01-watch")
    return _aged(document)


def _aged(document: dict[str, Any]) -> dict[str, Any]:
    """With its age in seconds, by the time since boot where the document has that: a clock that was set ages nothing."""
    if document.get("uptime") is None:
        return document
    return {**document, "age_s": round(time.clock_gettime(time.CLOCK_BOOTTIME) - float(document["uptime"]), 1)}


def warnings(document: dict[str, Any], now: float) -> list[str]:
    """What a reader must know before they believe it: that it is old, that a source is away, that GPUs are simulated."""
    said = []
    age = float(document["age_s"]) if "age_s" in document else now - float(document["time"])
    if age > OLD_S:
        said.append(f"This is {age:.0f} s old: the watcher does not run.")
    said += [f"{name} does not answer: {state.get('error')}" for name, state in document["sources"].items() if not state["ok"]]
    if document.get("simulated"):
        said.append("These GPUs are simulated: nothing computes on them.")
    return said
