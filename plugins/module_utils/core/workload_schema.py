# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""JSON Schemas (draft 2020-12) of what the watcher publishes and of a line of the event log: what readers may rely on.

Within a version keys are only added; a reader passes over those that it does not know.
"""

from __future__ import annotations

from typing import Any

from .event import KINDS
from .event import SCHEMA_VERSION as EVENT_VERSION
from .workload_document import SCHEMA_VERSION
from .workload_kind import Kind

Schema = dict[str, Any]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_MAYBE_TEXT: Schema = {"type": ["string", "null"]}
_MAYBE_WHOLE: Schema = {"type": ["integer", "null"]}
_MAYBE_NUMBER: Schema = {"type": ["number", "null"]}
_NUMBER: Schema = {"type": "number"}
EVIDENCE = ("slice", "label", "aime label", "name", "login", "devcontainer folder", "bind mount", "compose folder", "process owner", "none")


def _object(properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    return {"type": "object", "properties": properties, "required": [key for key in properties if key not in optional]}


def _said(schema: Schema, meaning: str) -> Schema:
    return {**schema, "description": meaning}


def inventory_schema() -> Schema:
    """Of /run/ds01/inventory.json."""
    gpu = _object({"uuid": _TEXT, "index": _MAYBE_WHOLE, "profile": _MAYBE_TEXT})
    process = _object(
        {
            "pid": {"type": "integer"},
            "start_ticks": _said({"type": "integer"}, "when it started, in clock ticks since boot: with the pid its identity"),
            "cgroup": _TEXT,
            "command": _TEXT,
            "uid": {"type": "integer"},
            "login_uid": _said(_MAYBE_WHOLE, "the kernel's loginuid: who logged in, whatever uid it has now"),
            "gpu": _said(_TEXT, "UUID"),
            "gpu_memory": _said(_MAYBE_WHOLE, "bytes; null where the driver does not say"),
        }
    )
    workload = _object(
        {
            "kind": _said({"enum": [kind.value for kind in Kind]}, "what it is to the platform"),
            "origin": _said(_TEXT, "how it was made: ds01, docker, compose, devcontainer, the engine's name, host"),
            "tracked": _said(_FLAG, "whether the platform (or the system) gave it its GPU"),
            "user": _said(_MAYBE_TEXT, "null: unattributed"),
            "uid": _MAYBE_WHOLE,
            "attributed_by": _said({"enum": list(EVIDENCE)}, "the evidence for the person"),
            "container_id": _MAYBE_TEXT,
            "name": _TEXT,
            "image": _TEXT,
            "running": _FLAG,
            "claim": _MAYBE_TEXT,
            "every_gpu": _FLAG,
            "privileged": _FLAG,
            "access_by": _said(
                {"enum": ["claim", "privileged", "devices", "runtime", "process", None]}, "how it comes to a GPU, from its OCI spec"
            ),
            "gpus": {"type": "array", "items": gpu},
            "gpu_memory": _said(_MAYBE_WHOLE, "bytes of all its processes"),
            "processes": {"type": "array", "items": process},
            "since": _said(_MAYBE_NUMBER, "its start (or creation), seconds since the epoch"),
        }
    )
    sensor = dict.fromkeys(("busy_percent", "utilisation", "memory_used", "memory_total", "power", "temperature"), _MAYBE_NUMBER)
    device = _object(
        {"uuid": _TEXT, "index": {"type": "integer"}, "model": _TEXT, "mig": _FLAG, "healthy": _FLAG, "answers": _FLAG, **sensor}
    )
    source = _object({"ok": _FLAG, "error": _MAYBE_TEXT, "age_s": _MAYBE_NUMBER, "away_s": _MAYBE_NUMBER}, ("error", "age_s", "away_s"))
    return {
        "$schema": _DIALECT,
        "title": "GPU workloads of a host",
        "description": "/run/ds01/inventory.json, `ds01 workloads --json`, the module container_scan. What is not known is null, never 0.",
        **_object(
            {
                "v": {"const": SCHEMA_VERSION},
                "time": _said(_NUMBER, "when it was made, seconds since the epoch, UTC"),
                "uptime": _said(_NUMBER, "the same in seconds since boot (CLOCK_BOOTTIME): its age, whatever the clock does"),
                "age_s": _said(_NUMBER, "how old it was when `ds01 workloads` read it"),
                "simulated": _FLAG,
                "sources": _object({"docker": source, "gpu": source}),
                "workloads": {"type": "array", "items": workload},
                "gpus": {"type": "array", "items": device},
            },
            ("uptime", "age_s", "gpus"),
        ),
    }


def event_schema() -> Schema:
    """Of one line of the event log."""
    return {
        "$schema": _DIALECT,
        "title": "A line of the event log",
        **_object(
            {
                "time": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
                "v": {"const": EVENT_VERSION},
                "kind": {"enum": list(KINDS)},
                "user": _TEXT,
                "uid": {"type": "integer"},
                "container": _TEXT,
                "container_id": _TEXT,
                "by": _said(_TEXT, "who caused it: a person, or a program of the platform"),
                "gpus": {"type": "array", "items": _TEXT},
                "details": {"type": "object"},
            },
            ("user", "uid", "container", "container_id", "by", "gpus", "details"),
        ),
        "additionalProperties": False,
    }
