# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The gate's judgement. Two calls and a loop::

    admitted = admit(identity, parse_head(raw), context)        # Admitted | Answer: from the head alone, before the body is read
    body = ...                                                  # as admitted.body and admitted.max_body say; None for a stream
    facts = Facts()
    while isinstance(verdict := judge(identity, admitted, body, facts, limits, context), Need):
        facts = facts.told({question: look_up(question) for question in verdict.questions})

``verdict`` is then a ``Forward`` or an ``Answer``. Both calls are pure and raise nothing but bugs, which the caller answers with 503. A
body that was not read when the verdict is no ``Forward`` with ``stream`` has to be drained, or the connection closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..limits import Limits
from ..refusal import Refusal
from . import image_rules, strict_json
from .case import Admitted, Case
from .context import Context
from .facts import Facts, Missing
from .identity import Identity
from .image_archive import Named
from .path import BadPath, Path, decode_name, match_template, parse_path
from .query import BadQuery, parse_query
from .request_head import RequestHead
from .route import MAX_JSON, Access, Body, Route
from .routes import ROUTES
from .rules import RULES
from .verdict import Answer, Need, Stop, Verdict

_BY_METHOD: dict[str, tuple[Route, ...]] = {
    method: tuple(route for route in ROUTES if route.method == method) for method in {route.method for route in ROUTES}
}
_FORMS = ("application/x-www-form-urlencoded", "multipart/")


def admit(identity: Identity, head: RequestHead, context: Context) -> Admitted | Answer:
    """The request as far as its head goes, or the refusal: unknown caller, path, version, route, query, content type, body length."""
    try:
        _check_caller(identity)
        raw_path, _, raw_query = head.target.partition("?")
        where = parse_path(raw_path)
        _check_version(where, context)
        route, encoded = _route(head.method, where, raw_path)
        _check_access(identity, route)
        names = {name: decode_name(value, image=f"{{{name}*}}" in route.template) for name, value in encoded.items()}
        _check_content(head, route)
        return Admitted(head, route, where.version, names, parse_query(raw_query, route.query))
    except BadPath as error:
        return _message(error.status, str(error), "path")
    except BadQuery as error:
        return _message(400, str(error), "query")
    except Stop as stop:
        return _message(stop.status, str(stop), stop.rule)
    except Refusal as refusal:
        return _message(refusal.status, str(refusal), refusal.rule)


def judge(identity: Identity, request: Admitted, body: bytes | None, facts: Facts, limits: Limits, context: Context) -> Verdict | Need:
    """What happens to the request: forwarded as rebuilt, answered here, or judged again when the needed facts are known."""
    try:
        return RULES[request.route.rule](Case(identity, request, _parse_body(request, body), facts, limits, context))
    except Missing as missing:
        return Need(missing.questions)
    except strict_json.StrictJsonError as error:
        return _message(400, f"the request body is refused: {error}", "json")
    except Stop as stop:
        return _message(stop.status, str(stop), stop.rule)
    except Refusal as refusal:
        return _message(refusal.status, str(refusal), refusal.rule)


def judge_archive(
    identity: Identity, request: Admitted, names: Sequence[Named], facts: Facts, limits: Limits, context: Context
) -> tuple[str, ...] | Answer | Need:
    """The references that an archive of images may change, or the refusal of the whole archive."""
    try:
        return image_rules.loaded_names(Case(identity, request, None, facts, limits, context), names)
    except Missing as missing:
        return Need(missing.questions)
    except Stop as stop:
        return _message(stop.status, str(stop), stop.rule)
    except Refusal as refusal:
        return _message(refusal.status, str(refusal), refusal.rule)


def _message(status: int, text: str, rule: str) -> Answer:
    return Answer(status, {"message": text}, rule)


def _check_caller(identity: Identity) -> None:
    if not identity.from_host_pidns:
        raise Refusal(
            "access to Docker is refused",
            "the request comes from inside a container, where nobody is known",
            "Use docker on the server itself.",
            rule="foreign-pidns",
        )
    if not identity.user:
        raise Refusal(
            "access to Docker is refused",
            f"uid {identity.uid} has no name on this server",
            "Ask an administrator for an account.",
            rule="unknown-uid",
        )
    if identity.uid == 0 and not identity.admin:
        raise Refusal(
            "access to Docker is refused",
            "root is nobody on this socket",
            "Use: docker -H unix:///run/docker-root/docker.sock",
            rule="root",
        )


def _check_version(where: Path, context: Context) -> None:
    if where.version is not None and where.version > context.api_max:
        asked, newest = (".".join(map(str, version)) for version in (where.version, context.api_max))
        raise Stop(400, f"client version {asked} is too new. Maximum supported API version is {newest}", "version")
    if where.version is not None and where.version < context.api_min:
        asked, oldest = (".".join(map(str, version)) for version in (where.version, context.api_min))
        told = f"client version {asked} is too old. Minimum supported API version is {oldest}, please upgrade your client"
        raise Stop(400, told, "version")


def _route(method: str, where: Path, raw_path: str) -> tuple[Route, dict[str, str]]:
    for route in _BY_METHOD.get(method, ()):
        names = match_template(route.template, where.segments)
        if names is not None:
            return route, dict(names)
    if method == "GET" and where.segments[0] == "containers" and where.segments[-1] == "json":
        # ``docker inspect team/image``: the CLI asks for a container of that name first and goes on to images only after a 404.
        raise Stop(404, f"No such container: {'/'.join(where.segments[1:-1])[:80]}", "not-yours")
    if "%" in raw_path:
        raise BadPath(f"path {raw_path[:80]!r} is no route of this server; percent escapes are understood in names only")
    raise Refusal(
        f"{method} {raw_path[:80]} is refused",
        "this server does not offer it",
        "See the documentation of the gate for what is offered.",
        rule="unknown-route",
    )


def _check_access(identity: Identity, route: Route) -> None:
    if route.access is Access.DENY:
        raise Refusal(
            f"{route.name} is refused", "it changes or shows the whole server", "Ask an administrator if you need it.", rule="route-denied"
        )
    if route.access is Access.ADMIN and not identity.admin:
        raise Refusal(
            f"{route.name} is refused",
            "it reaches other people's work, so that only administrators may",
            "Ask an administrator if you need it.",
            rule="route-admin",
        )


def _check_content(head: RequestHead, route: Route) -> None:
    """The body's type and length, as far as the head tells."""
    media = (head.header("content-type") or "").partition(";")[0].strip().lower()
    if media.startswith(_FORMS):
        raise Stop(415, f"content type {media} is refused: the daemon would let a form override the query. Send application/json.", "form")
    if (head.header("content-encoding") or "identity").lower() != "identity":
        raise Stop(415, "an encoded request body is refused. Send it without Content-Encoding.", "content-encoding")
    if route.body is Body.STREAM:
        return
    if head.length is not None and head.length > MAX_JSON:
        raise Stop(413, f"the request body is {head.length} bytes long; at most {MAX_JSON} are read.", "body-size")
    if route.body is Body.JSON and head.has_body and media != "application/json":
        raise Stop(415, f"content type {media or 'of the body'} is refused. Send application/json.", "content-type")


def _parse_body(request: Admitted, body: bytes | None) -> Any:
    """The JSON value of the body, None for an empty one. Where no body belongs, one of a GET is ignored and any other must say nothing."""
    if body is not None and len(body) > MAX_JSON:
        raise Stop(413, f"the request body is longer than {MAX_JSON} bytes.", "body-size")
    if (
        request.route.body is Body.STREAM
        or body is None
        or not body.strip()
        or (request.route.body is Body.NONE and request.head.method in ("GET", "HEAD"))
    ):
        return None
    for raw, parsed in request.read_before:
        if raw is body:
            return parsed
    value = strict_json.parse(body)
    if request.route.body is Body.NONE and value:
        raise Stop(400, f"{request.route.name} takes no body.", "unexpected-body")
    request.read_before[:] = [(body, value)]
    return value
