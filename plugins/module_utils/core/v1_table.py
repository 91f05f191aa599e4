# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Every request that ``/ds01/v1/`` knows: one table, from which it is served, described (OpenAPI) and tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import v1_schemas as schemas
from .gate.route import Param
from .v1_schemas import Schema

PREFIX = "/ds01/v1/"
MOST_EVENTS = 1000
USUAL_EVENTS = 100


@dataclass(frozen=True)
class Parameter:
    """One parameter of a query. ``least`` and ``most`` bound a number."""

    kind: Param
    meaning: str
    least: int = 0
    most: int = 2**53

    def schema(self) -> Schema:
        """What may be written."""
        if self.kind is Param.INTEGER:
            return {"type": "integer", "minimum": self.least, "maximum": self.most}
        return {"type": "string", "maxLength": 200}


@dataclass(frozen=True)
class Endpoint:
    """One method on one document. ``body`` is the schema of what is sent, None for nothing."""

    method: str
    name: str
    summary: str
    answer: Schema
    query: Mapping[str, Parameter] = field(default_factory=dict)
    body: Schema | None = None


_TEXT = Param.TEXT
_EVENTS = {
    "user": Parameter(_TEXT, "of this person; anybody but yourself for administrators only"),
    "container": Parameter(_TEXT, "of this container: its name, or the first twelve digits or more of its id"),
    "gpu": Parameter(_TEXT, "on this GPU: its UUID or how that begins"),
    "kind": Parameter(_TEXT, "of this kind, or of a family such as claim.*"),
    "since": Parameter(Param.INTEGER, "not before, in seconds since the epoch, UTC; seven days ago if not given"),
    "until": Parameter(Param.INTEGER, "not after, in seconds since the epoch, UTC"),
    "limit": Parameter(Param.INTEGER, f"the last so many; {USUAL_EVENTS} if not given", 1, MOST_EVENTS),
}

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "me", "Who you are to the platform.", schemas.ME),
    Endpoint("GET", "limits", "What you may use, and which rule set each value.", schemas.LIMITS),
    Endpoint("GET", "usage", "What you use now, against your limits.", schemas.USAGE),
    Endpoint("GET", "claims", "Which of your containers hold GPUs; everybody's for administrators.", schemas.CLAIMS),
    Endpoint(
        "GET", "status", "Every GPU and instance, and whether it is free; whose it is to its holder and administrators.", schemas.STATUS
    ),
    Endpoint("GET", "health", "Whether the parts of the platform work.", schemas.HEALTH),
    Endpoint("GET", "queue", "Your entries in the queue for GPUs; everybody's for administrators.", schemas.QUEUE),
    Endpoint("POST", "queue", "Join the queue; the request is written as in the label ds01.gpu.", schemas.ENTRY, body=schemas.JOIN),
    Endpoint("DELETE", "queue", "Leave the queue.", schemas.LEFT),
    Endpoint("GET", "reservations", "Reservations made for you, all for administrators; others' as busy times.", schemas.RESERVATIONS),
    Endpoint("GET", "workloads", "What of yours uses or may use a GPU; everybody's for administrators.", schemas.WORKLOADS),
    Endpoint("GET", "events", "What happened to you and yours; to everybody for administrators.", schemas.EVENTS, _EVENTS),
    Endpoint("GET", "openapi.json", "This description.", schemas.ANYTHING),
)


def openapi() -> dict[str, Any]:
    """The table as an OpenAPI 3.1 document."""
    paths: dict[str, Any] = {}
    for one in ENDPOINTS:
        operation: dict[str, Any] = {
            "operationId": f"{one.method.lower()}_{one.name.partition('.')[0]}",
            "summary": one.summary,
            "responses": {
                "200": {"description": "Done.", "content": {"application/json": {"schema": one.answer}}},
                "4XX": {"description": "Refused: the message says why and what to do.", "content": _error()},
                "503": {"description": "A part of the platform does not answer now.", "content": _error()},
            },
        }
        if one.query:
            operation["parameters"] = [
                {"name": name, "in": "query", "required": False, "description": known.meaning, "schema": known.schema()}
                for name, known in one.query.items()
            ]
        if one.body is not None:
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": one.body}}}
        paths.setdefault(PREFIX + one.name, {})[one.method.lower()] = operation
    about = "Asked on Docker's socket; who asks is known from the connection. Times are seconds since the epoch (UTC), sizes bytes."
    return {
        "openapi": "3.1.0",
        "info": {"title": "ds01", "version": "1", "description": about},
        "paths": paths,
        "components": {"schemas": {"Error": schemas.ERROR}},
    }


def _error() -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
