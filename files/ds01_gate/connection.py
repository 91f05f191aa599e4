# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""One client connection: request after request, each identified, admitted, judged, done and logged.

Fails closed: what is not understood is answered with an error and never forwarded.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ds01.caller_paths import PathServerGone
from ds01.core.gate.api_versions import DaemonNotSupported
from ds01.core.gate.case import Admitted
from ds01.core.gate.context import Context
from ds01.core.gate.image_archive import Named
from ds01.core.gate.judge import admit
from ds01.core.gate.replay import kept
from ds01.core.gate.request_head import BadHead, RequestHead
from ds01.core.gate.route import Body
from ds01.core.gate.verdict import Answer, Stop, SweepImages
from ds01.core.policy_model import GateSettings
from ds01.core.refusal import Refusal
from ds01.core.v1_table import PREFIX
from ds01.docker_upstream import DaemonRefused, DaemonUnavailable
from ds01.image_tags import TagsUnwritable
from ds01.peer_identity import Peer
from ds01.policy_file import PolicyFile
from ds01_gate.audit import Audit
from ds01_gate.caller import Caller, Callers
from ds01_gate.client_stream import BodyRefused, ClientGone, ClientStream
from ds01_gate.effects import Effects, Outcome, ServerFault
from ds01_gate.forwarding import Forwarder, plain_answer
from ds01_gate.judgement import Judgement
from ds01_gate.known_request import KnownRequest
from ds01_gate.maintenance import MaintenanceGuard
from ds01_gate.measures import Measures, verdict_of
from ds01_gate.recorder import Recorder
from ds01_gate.remembered_ping import RememberedPing, remembered
from ds01_gate.settings import Settings
from ds01_gate.streams import Streams
from ds01_gate.traffic import Traffic
from ds01_gate.turn_wait import MustWait, Ticket, TurnWait
from ds01_gate.v1_api import MOST_BODY, V1Api, refused

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_READING = frozenset({"GET", "HEAD"})
_CREATE = "POST /containers/create"
_START = "POST /containers/{id}/start"
_STARTS = frozenset({_START, "POST /containers/{id}/restart"})
_MOST_WHY = 1000
_BUILDS = frozenset({"POST /build", "POST /grpc"})


@dataclass(frozen=True)
class Services:
    """What every connection uses."""

    settings: Settings
    audit: Audit
    recorder: Recorder
    callers: Callers
    policies: PolicyFile
    judgement: Judgement
    effects: Effects
    streams: Streams
    traffic: Traffic
    measures: Measures
    api: V1Api
    maintenance: MaintenanceGuard
    waiting: TurnWait


def refusal_answer(refusal: Refusal) -> Answer:
    """A refusal as Docker's clients show it: one message."""
    return Answer(refusal.status, refused(refusal), refusal.rule)


class Connection:
    """Serves one client until it or the gate ends."""

    def __init__(self, services: Services, client: ClientStream, peer: Peer) -> None:
        self._services = services
        self._client = client
        self._peer = peer
        self._forwarder = Forwarder(services.settings.docker, client, services.streams)
        self._ping: RememberedPing | None = None
        self.idle = True
        self.draining = False

    def serve(self) -> None:
        """Request after request."""
        settings = self._services.settings
        try:
            while not self.draining:
                try:
                    self.idle = True
                    head = self._client.head(settings.idle_seconds, settings.head_seconds)
                except BadHead as error:
                    self.idle = False
                    self._say(None, Answer(error.status, {"message": str(error)}, "bad-head"), keep=False)
                    self._services.measures.answered("refused", "bad-head")
                    if self._services.audit.refusal(self._peer.uid, pid=self._peer.pid, rule="bad-head", why=str(error)):
                        self._services.recorder.record("gate.denied", uid=self._peer.uid, details={"rule": "bad-head", "why": str(error)})
                    return
                if head is None:
                    return
                self.idle = False
                if self._ping is not None and self._ping.answers(head, time.monotonic()):
                    self._client.send(self._ping.said)
                    self._services.measures.answered("answered")
                elif not self._one(head):
                    return
        except ClientGone:
            return
        finally:
            self._forwarder.close()
            self._client.finish()

    def _say(self, head: RequestHead | None, answer: Answer, *, keep: bool) -> None:
        self._client.send(plain_answer(head, answer, keep=keep))

    def _one(self, head: RequestHead) -> bool:
        """One request; True when the connection can be used again."""
        started = time.monotonic()
        request = KnownRequest(head)
        try:
            answer = self._handle(request)
        except ClientGone:
            self._log(request, "client-gone", started)
            raise
        except Refusal as refusal:
            answer = refusal_answer(refusal)
        except Stop as stop:
            answer = Answer(stop.status, {"message": str(stop)}, stop.rule, close=True)
        except BodyRefused as error:
            answer = Answer(error.status, {"message": str(error)}, "bad-body", close=True)
        except DaemonNotSupported as error:
            answer = Answer(503, {"message": str(error)}, "daemon-not-supported")
        except DaemonUnavailable as error:
            self._services.judgement.forget_daemon()
            answer = Answer(
                503, {"message": f"dockerd does not answer, it may be restarting; try again in a moment ({error})"}, "daemon-unavailable"
            )
        except DaemonRefused as error:
            answer = Answer(error.status if error.status < 500 else 503, {"message": error.message}, "daemon-refused")
        except (ServerFault, PathServerGone, TagsUnwritable) as error:
            answer = Answer(503, {"message": str(error)}, "server-fault")
        except Exception as error:
            # Whatever a bug does here, the request has not been forwarded, or its answer was cut off: never half judged.
            self._services.audit.note("exception", request=request.id, route=request.name, trace=traceback.format_exc())
            message = f"the gate failed ({type(error).__name__}) and refuses the request; tell the administrator: request {request.id}"
            answer = Answer(503, {"message": message}, "exception", close=True)
        if answer is None:
            self._log(request, "forwarded", started)
            if request.keep:
                self._ping = remembered(request.name, head, request.status, self._forwarder.said, started)
            return request.keep
        if request.name == _START and request.caller is not None and not request.sent:
            with contextlib.suppress(DaemonUnavailable, DaemonRefused):
                self._services.effects.start_refused(request.caller, request.container)
        if request.answering:
            self._log(request, answer.rule, started, answer)
            return False
        keep = head.keep_alive and not answer.close and self._client.body_read
        self._log(request, answer.rule, started, answer)
        self._say(head, answer, keep=keep)
        return keep

    def _handle(self, request: KnownRequest) -> Answer | None:
        """The gate's own answer, or None when the daemon's was sent."""
        services, head = self._services, request.head
        caller = request.caller = services.callers.identify(self._peer)
        if head.target.startswith(PREFIX):
            return self._v1(caller, head)
        context = services.judgement.context()
        admitted = admit(caller.identity, head, context)
        if isinstance(admitted, Answer):
            self._skip_body(head)
            return admitted
        request.name = admitted.route.name
        request.admitted = admitted
        request.container = admitted.names.get("id", "")
        body = self._body(head, admitted)
        with contextlib.ExitStack() as queue:
            ticket: Ticket | None = None
            while True:
                try:
                    return self._attempt(request, caller, admitted, body, context if ticket is None else services.judgement.context())
                except MustWait as start:
                    ticket = ticket or queue.enter_context(services.waiting.ticket(start))
                    ticket.wait(self._client.socket, start.refusal)

    def _attempt(self, request: KnownRequest, caller: Caller, admitted: Admitted, body: bytes | None, context: Context) -> Answer | None:
        """Judge and do. Raises MustWait, with nothing done, for a start that may wait for its GPU."""
        services, head = self._services, request.head
        gate = services.policies.current().gate
        with contextlib.ExitStack() as held:
            if request.name in _STARTS:
                services.maintenance.check()
            if request.name == _CREATE:
                services.traffic.count_create(caller.uid, gate.creates_per_minute)
            elif request.name in _BUILDS:
                self._count_build(held, caller, request.name, gate)
            if admitted.alone:
                held.enter_context(services.traffic.turn(caller.uid))
            with services.measures.judging():
                verdict = services.judgement.verdict(caller, admitted, body, context, observed=gate.observed)
            if isinstance(verdict, Answer):
                return verdict
            if isinstance(verdict, SweepImages):
                request.rule = verdict.rule
                return services.effects.sweep(verdict)
            request.take(verdict)
            with services.effects.around(caller, verdict) as outcome:
                if verdict.stream and head.has_body and head.expects_continue:
                    self._client.send(_CONTINUE)
                request.sent = True
                request.keep = self._forwarder.forward(
                    head,
                    verdict,
                    caller.identity,
                    context,
                    outcome,
                    request.begin,
                    lambda names, images: self._approve(caller, admitted, context, names, images, outcome),
                )
                request.status = outcome.status
        return None

    def _approve(
        self, caller: Caller, admitted: Admitted, context: Context, names: Sequence[Named], images: Sequence[str], outcome: Outcome
    ) -> None:
        """Judge the names of an archive of images; raises Stop."""
        changed = self._services.judgement.archive(caller, admitted, names, context)
        if isinstance(changed, Answer):
            raise Stop(changed.status, str(changed.body["message"]), changed.rule)
        outcome.images = self._services.effects.not_there(images)
        self._services.effects.will_write(changed, caller)

    def _count_build(self, held: contextlib.ExitStack, caller: Caller, route: str, gate: GateSettings) -> None:
        """One build more of that person for as long as ``held`` lasts; where policy only observes builds, one too many is logged."""
        try:
            held.enter_context(self._services.traffic.building(caller.uid, gate.builds))
        except Refusal as refusal:
            if "builds" not in gate.observed:
                raise
            about = {"route": route, "object": "", "rule": refusal.rule, "why": refusal.why}
            self._services.audit.note("would_refuse", uid=caller.uid, user=caller.identity.user, **about)

    def _body(self, head: RequestHead, admitted: Admitted) -> bytes | None:
        if admitted.body is Body.STREAM:
            return None
        if head.has_body and head.expects_continue:
            self._client.send(_CONTINUE)
        return self._client.body(head, admitted.max_body, self._services.settings.body_seconds)

    def _v1(self, caller: Caller, head: RequestHead) -> Answer:
        if not self._services.api.takes_body(head):
            self._skip_body(head)
            return self._services.api.answer(caller, head)
        if head.has_body and head.expects_continue:
            self._client.send(_CONTINUE)
        return self._services.api.answer(caller, head, self._client.body(head, MOST_BODY, self._services.settings.body_seconds))

    def _skip_body(self, head: RequestHead) -> None:
        """Read past a small body, so that the connection can go on; a large one ends it."""
        if head.length is not None and head.length <= 65536 and not head.expects_continue:
            self._client.body(head, 65536, self._services.settings.body_seconds)

    def _log(self, request: KnownRequest, outcome: str, started: float, answer: Answer | None = None) -> None:
        caller = request.caller
        status = request.status if answer is None else answer.status
        self._services.measures.answered(*verdict_of(outcome, status if answer is not None else None))
        why = str(answer.body.get("message", "")) if answer is not None and isinstance(answer.body, dict) else ""
        fields: dict[str, Any] = {
            "request": request.id,
            "user": caller.identity.user if caller else None,
            "pid": self._peer.pid,
            "command": self._peer.command,
            "route": request.name,
            "object": request.object_id,
            "status": status,
            "rule": outcome if outcome != "forwarded" else request.rule,
            "ms": round((time.monotonic() - started) * 1000, 1),
        }
        if outcome not in ("forwarded", "client-gone") and status is not None and status >= 400:
            again = kept(request.admitted) if request.admitted is not None else {}
            if self._services.audit.refusal(self._peer.uid, **fields, **again) and _denies(request, status, outcome):
                details = {**{key: fields[key] for key in ("rule", "route", "status", "request")}, "why": why[:_MOST_WHY]}
                self._services.recorder.record("gate.denied", user=fields["user"], uid=self._peer.uid, details=details)
        elif request.head.method not in _READING:
            self._services.audit.note("request", uid=self._peer.uid, **fields)


def _denies(request: KnownRequest, status: int, rule: str) -> bool:
    """Whether that answer is a refusal for the event log: not a thing that isn't there, not a fault, not a claim that is refused."""
    return 400 <= status < 500 and status != 404 and not (request.name == _START and rule.startswith("gpu."))
