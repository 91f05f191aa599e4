# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""JSON Schemas (draft 2020-12) of what ``/ds01/v1/`` takes and gives. A document has exactly the keys that stand here."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
ANYTHING: Schema = {"type": "object"}


def maybe(schema: Schema) -> Schema:
    """That, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def each(schema: Schema) -> Schema:
    """A list of those."""
    return {"type": "array", "items": schema}


def exactly(required: dict[str, Schema], **optional: Schema) -> Schema:
    """An object with these keys and no others; ``optional`` may be missing."""
    return {"type": "object", "properties": {**required, **optional}, "required": list(required), "additionalProperties": False}


_LIMIT = exactly({"used": maybe(NUMBER), "limit": maybe(NUMBER)})
_DEVICE = exactly({"gpu": TEXT, "profile": maybe(TEXT), "memory_mib": WHOLE, "mig_uuid": maybe(TEXT)})
_CLAIM = exactly(
    {
        **dict.fromkeys(("id", "user", "container", "container_id", "request"), TEXT),
        "equivalents": NUMBER,
        "granted_at": NUMBER,
        "held_until": maybe(NUMBER),
        "ending_since": maybe(NUMBER),
        "devices": each(_DEVICE),
    }
)
_STATE = {"enum": ["free", "busy", "held"]}
_HOLDER = {"user": TEXT, "container": TEXT, "claim": TEXT, "mine": FLAG}
_INSTANCE = exactly({"profile": TEXT, "memory_mib": WHOLE, "equivalents": NUMBER, "state": _STATE}, **_HOLDER)
_GPU = exactly(
    {"index": WHOLE, "uuid": TEXT, "model": TEXT, "memory_mib": WHOLE, "mig": FLAG, "healthy": FLAG, "pool": TEXT},
    instances=each(_INSTANCE),
    equivalents=NUMBER,
    state=_STATE,
    **_HOLDER,
)
ENTRY = exactly(
    {
        **dict.fromkeys(("id", "user", "request"), TEXT),
        "joined_at": NUMBER,
        "position": WHOLE,
        "expected_at": maybe(NUMBER),
        "container_id": maybe(TEXT),
        "offer": maybe(exactly({"devices": each(_DEVICE), "until": NUMBER})),
    }
)
ERROR = exactly({"message": TEXT}, what=TEXT, why=TEXT, next=TEXT, rule=TEXT)
JOIN = exactly({"request": {"type": "string", "minLength": 1, "maxLength": 200}})
LEFT = exactly({"left": FLAG})
ME = exactly({"user": TEXT, "uid": WHOLE, "group": TEXT, "admin": FLAG, "bare_metal": FLAG})
LIMITS = exactly(
    {
        "user": TEXT,
        "group": TEXT,
        "priority": WHOLE,
        **dict.fromkeys(("gpu", "container", "aggregate", "lifecycle", "sources"), ANYTHING),
        "bind_roots": each(exactly({"path": TEXT, "writable": FLAG})),
    }
)
CLAIMS = exactly({"claims": each(_CLAIM)})
USAGE = exactly(
    {
        "user": TEXT,
        **dict.fromkeys(("gpu_equivalents", "containers", "memory", "tasks"), _LIMIT),
        "cpus": exactly({"limit": maybe(NUMBER)}),
        "claims": each(_CLAIM),
    }
)
STATUS = exactly({"gpus": each(_GPU), "driver": TEXT, "simulated": FLAG, "read_at": NUMBER})
HEALTH = exactly({"docker": FLAG, "policy": FLAG, "ok": FLAG}, policy_problem=maybe(TEXT), events_lost=WHOLE)
QUEUE = exactly({"waiting": WHOLE, "entries": each(ENTRY)})
RESERVATIONS = exactly(
    {
        "reservations": each(
            exactly(
                {
                    **dict.fromkeys(("id", "reason"), TEXT),
                    **dict.fromkeys(("start", "end"), NUMBER),
                    **dict.fromkeys(("devices", "users", "groups"), each(TEXT)),
                }
            )
        ),
        "busy": each(exactly({"devices": each(TEXT), "start": NUMBER, "end": NUMBER})),
    }
)
WORKLOADS = {
    "type": "object",
    "properties": {
        "v": WHOLE,
        "time": NUMBER,
        "uptime": maybe(NUMBER),
        "simulated": FLAG,
        "sources": ANYTHING,
        "workloads": each(ANYTHING),
        "gpus": each(ANYTHING),
    },
    "required": ["v", "time", "sources", "workloads"],
}
EVENTS = exactly({"events": each(ANYTHING)})
