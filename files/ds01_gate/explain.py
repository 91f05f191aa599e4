# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01-gate explain``: judges a request again, for a person, and says which rule decides. Nothing is forwarded, granted or written.

The request is given (method, target, body) or taken from a line of the gate's log; what the rules ask about the world is looked up at
dockerd with GET, or given in a file. Exit status: 0 it would be let through, 1 it would be refused, 2 it can't be judged.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ds01.allocator import AllocationError
from ds01.caller_paths import Rights
from ds01.claim_turns import Moment
from ds01.core.chooser import choose
from ds01.core.gate.context import Context
from ds01.core.gate.facts import Answer as Fact
from ds01.core.gate.facts import Facts, Question
from ds01.core.gate.identity import Identity
from ds01.core.gate.judge import admit, judge
from ds01.core.gate.request_head import BadHead, RequestHead, parse_head
from ds01.core.gate.verdict import Answer, Forward, GrantClaim, Need, SweepImages, Verdict
from ds01.core.gpu_request import GpuRequest
from ds01.core.limits import Limits
from ds01.core.refusal import Refusal

LET_THROUGH, REFUSED, UNKNOWN = 0, 1, 2
_MOST_ROUNDS = 64
LookUp = Callable[[Question, Rights], Fact]


class CannotJudge(Exception):
    """The request, the person or the world can't be had; the message says which."""


def options(arguments: list[str]) -> argparse.Namespace:
    """The command line of ``explain``."""
    parser = argparse.ArgumentParser(prog="ds01-gate explain", description="Which rule decides on a request. Nothing is changed.")
    parser.add_argument("method", nargs="?", help="such as POST")
    parser.add_argument("target", nargs="?", help="path and query, such as /v1.45/containers/create?name=x")
    parser.add_argument("--user", help="for whom (with --line: whom the line names, unless said otherwise)")
    parser.add_argument("--body", type=Path, help="a file with the JSON body")
    parser.add_argument("--line", help="a line of the gate's log, or - for standard input; one of a refusal has its body")
    parser.add_argument("--config", type=Path, help="the gate's settings")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def from_line(text: str) -> tuple[str, str, str | None, bytes]:
    """(method, target, user, body) of a request in the log.

    The line of a refusal has target and body, without the values of variables and without commands. Of any other line the route's names
    stand for the object that it names.
    """
    try:
        line = json.loads(text[text.index("{") :])
        method, _, route = line["route"].partition(" ")
        body = json.dumps(line["body"]).encode() if isinstance(line.get("body"), dict) else b""
        if isinstance(line.get("target"), str):
            return method, line["target"], line.get("user"), body
        target = route.replace("{id}", line.get("object") or "unknown").replace("{name}", line.get("object") or "unknown")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CannotJudge(f"this is no line of a request in the gate's log ({error}); expected a JSON object with route and user") from None
    return method, target.replace("{name*}", line.get("object") or "unknown"), line.get("user"), body


def head_of(method: str, target: str, body: bytes) -> RequestHead:
    """The head as a client sends it."""
    fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    try:
        return parse_head(f"{method} {target} HTTP/1.1\r\nHost: docker\r\n{fields}\r\n".encode("latin-1"))
    except (BadHead, UnicodeEncodeError) as error:
        raise CannotJudge(f"{method} {target}: {error}") from None


def judged(identity: Identity, head: RequestHead, body: bytes, limits: Limits, context: Context, rights: Rights, ask: LookUp) -> Verdict:
    """What the gate's rules say."""
    admitted = admit(identity, head, context)
    if isinstance(admitted, Answer):
        return admitted
    facts = Facts()
    for _ in range(_MOST_ROUNDS):
        verdict = judge(identity, admitted, body, facts, limits, context)
        if not isinstance(verdict, Need):
            return verdict
        facts = facts.told({question: ask(question, rights) for question in verdict.questions})
    raise CannotJudge(f"{admitted.route.name}: no verdict after {_MOST_ROUNDS} rounds of questions")


def grants(verdict: Forward, limits_of: Callable[[int], Limits], moment: Callable[[], Moment]) -> list[dict[str, Any]]:
    """What would become of the GPUs that a start asks for now; whose turn in the queue it is is left aside."""
    found: list[dict[str, Any]] = []
    for wanted in (effect for effect in verdict.before if isinstance(effect, GrantClaim)):
        try:
            there = moment()
            others = [claim for claim in there.claims if claim.id != wanted.claim_id]
            request = GpuRequest.parse(wanted.request)
            devices = choose(
                there.inventory,
                others,
                limits_of(wanted.uid),
                request,
                uid=wanted.uid,
                now=there.now,
                reservations=there.reservations,
                blocked=there.blocked,
            )
            found.append({"request": wanted.request, "devices": [device.key for device in devices]})
        except Refusal as refusal:
            found.append({"request": wanted.request, "refused": str(refusal), "rule": refusal.rule})
        except AllocationError as error:
            raise CannotJudge(str(error)) from None
    return found


def account(verdict: Verdict, gpus: list[dict[str, Any]], lifted: Verdict | None) -> dict[str, Any]:
    """All of it as one document. ``lifted``: the verdict without quotas, where policy only observes them."""
    if isinstance(verdict, Answer):
        passes = verdict.status < 400
        document: dict[str, Any] = {"passes": passes, "rule": verdict.rule, "status": verdict.status, "answer": verdict.body}
        if lifted is not None:
            document["passes_in_observe"] = not isinstance(lifted, Answer)
        return document
    if isinstance(verdict, SweepImages):
        return {"passes": True, "rule": verdict.rule, "status": 200, "answer": {"message": f"the gate does it itself: {verdict}"}}
    refused = next((one for one in gpus if "refused" in one), None)
    return {
        "passes": refused is None,
        "rule": verdict.rule if refused is None else refused["rule"],
        "forwarded": f"{verdict.method} {verdict.target}",
        "body": None if verdict.body is None else json.loads(verdict.body),
        "before": [repr(effect) for effect in verdict.before],
        "after": [repr(effect) for effect in verdict.after],
        "gpus": gpus,
    }


def render(document: dict[str, Any]) -> str:
    """The same for a person."""
    lines = [f"{'let through' if document['passes'] else 'refused'} by rule {document['rule'] or 'pass'}"]
    if "answer" in document:
        answer = document["answer"]
        lines.append(f"{document['status']}: {answer.get('message', answer) if isinstance(answer, dict) else answer}")
        if "passes_in_observe" in document:
            outcome = "logged and let through" if document["passes_in_observe"] else "refused all the same"
            lines.append(f"policy only observes quotas: it is {outcome}")
        return "\n".join(lines)
    lines.append(f"forwarded as {document['forwarded']}")
    if document["body"] is not None:
        lines.append(json.dumps(document["body"], indent=2))
    lines += [f"{when}: {effect}" for when in ("before", "after") for effect in document[when]]
    lines += [f"GPUs {one['request']}: {one.get('refused') or ', '.join(one['devices'])}" for one in document["gpus"]]
    return "\n".join(lines)


def request_of(given: argparse.Namespace) -> tuple[str, str, bytes, str]:
    """(method, target, body, user) as the command line says; raises CannotJudge."""
    user, body = given.user, b""
    if given.line is not None:
        method, target, named, body = from_line(sys.stdin.readline() if given.line == "-" else given.line)
        user = user or named
    elif given.method is None or given.target is None:
        raise CannotJudge("no request was given; expected METHOD TARGET, or --line")
    else:
        method, target = given.method, given.target
    if not user:
        raise CannotJudge("for whom is not said; expected --user NAME")
    try:
        body = body if given.body is None else given.body.read_bytes()
    except OSError as error:
        raise CannotJudge(f"{given.body}: {error.strerror}") from None
    return method, target, body, user
