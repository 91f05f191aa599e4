# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``/ds01/v1/…``: what people and the ``ds01`` command ask of the platform, on the same socket and with the same identity as
Docker's API. What there is stands in ``core.v1_table``; everything else is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ds01.allocator import AllocationError
from ds01.core.gate import strict_json
from ds01.core.gate.query import BadQuery, parse_query
from ds01.core.gate.request_head import RequestHead
from ds01.core.gate.verdict import Answer
from ds01.core.refusal import Refusal
from ds01.core.v1_table import ENDPOINTS, PREFIX, Endpoint
from ds01.docker_upstream import DaemonRefused, DaemonUnavailable
from ds01.json_state import StateError
from ds01_gate.caller import Caller

MOST_BODY = 16 * 1024
Handler = Callable[[Caller, Mapping[str, Any]], dict[str, Any]]


class BadRequest(Exception):
    """What the client sent is not what the table says: status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class V1Api:
    """``handlers`` by (method, name), one for each line of the table; they get the query's values, or the body of a POST."""

    def __init__(self, handlers: Mapping[tuple[str, str], Handler]) -> None:
        self._endpoints = {(one.method, one.name): one for one in ENDPOINTS}
        if set(handlers) != set(self._endpoints):
            raise ValueError(f"handlers and table differ: {sorted(set(handlers) ^ set(self._endpoints))}")
        self._handlers = handlers

    def takes_body(self, head: RequestHead) -> bool:
        """Whether the request's body is to be read, up to MOST_BODY, and given to ``answer``."""
        endpoint = self._endpoints.get((head.method, _name(head)))
        return endpoint is not None and endpoint.body is not None

    def answer(self, caller: Caller, head: RequestHead, body: bytes = b"") -> Answer:
        """The document, or why there is none. Raises Refusal where a rule of the platform says no."""
        name = _name(head)
        endpoint = self._endpoints.get((head.method, name))
        if endpoint is None:
            return self._unknown(head, name)
        try:
            given = _body(endpoint, head, body) if endpoint.body is not None else _query(endpoint, head)
            return Answer(200, self._handlers[(head.method, name)](caller, given), f"v1-{name}")
        except BadRequest as error:
            return Answer(error.status, {"message": str(error)}, "v1-request")
        except (AllocationError, DaemonRefused, DaemonUnavailable, StateError, OSError) as error:
            return Answer(503, {"message": str(error)}, "v1-unavailable")

    def _unknown(self, head: RequestHead, name: str) -> Answer:
        methods = sorted(method for method, known in self._endpoints if known == name)
        if methods:
            return Answer(405, {"message": f"{head.method} {PREFIX}{name}: expected {' or '.join(methods)}"}, "v1-method")
        known = ", ".join(sorted({one.name for one in ENDPOINTS}))
        return Answer(
            404, {"message": f"{head.target[:200]}: there is no such document; expected {PREFIX} and one of {known}"}, "v1-unknown"
        )


def _name(head: RequestHead) -> str:
    return head.target.removeprefix(PREFIX).partition("?")[0]


def _query(endpoint: Endpoint, head: RequestHead) -> dict[str, Any]:
    try:
        values = parse_query(head.target.partition("?")[2], {name: known.kind for name, known in endpoint.query.items()})
    except BadQuery as error:
        raise BadRequest(400, str(error)) from None
    for name, value in values.items():
        known = endpoint.query[name]
        if isinstance(value, int) and not known.least <= value <= known.most:
            raise BadRequest(400, f"query parameter {name}={value}: expected {known.least} to {known.most}")
        if isinstance(value, str) and len(value) > 200:
            raise BadRequest(400, f"query parameter {name} is longer than 200 characters")
    return {name: value for name, value in values.items() if value not in (None, "")}


def _body(endpoint: Endpoint, head: RequestHead, body: bytes) -> dict[str, Any]:
    """An object with exactly the keys of the schema, each a text that is not empty."""
    if "?" in head.target:
        raise BadRequest(400, f"{endpoint.method} {PREFIX}{endpoint.name} takes no query")
    media = (head.header("content-type") or "").partition(";")[0].strip().lower()
    if media != "application/json" or (head.header("content-encoding") or "identity").lower() != "identity":
        raise BadRequest(415, "the body is refused; send application/json without an encoding")
    properties: dict[str, Any] = (endpoint.body or {})["properties"]
    try:
        value = strict_json.parse(body)
    except strict_json.StrictJsonError as error:
        raise BadRequest(400, f"the request body is refused: {error}") from None
    if not isinstance(value, dict) or set(value) != set(properties):
        raise BadRequest(400, f"the request body is refused; expected an object with {', '.join(properties)} and nothing else")
    for key, text in value.items():
        if not isinstance(text, str) or not 0 < len(text) <= properties[key]["maxLength"]:
            raise BadRequest(400, f"{key}: expected a text of 1 to {properties[key]['maxLength']} characters")
    return value


def refused(refusal: Refusal) -> dict[str, Any]:
    """A refusal as a document: one message for Docker's clients, and its three parts."""
    return {"message": str(refusal), "what": refusal.what, "why": refusal.why, "next": refusal.next_step, "rule": refusal.rule}
