# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Sends a rebuilt request to dockerd and its answer to the client.

Theory of operation. A client connection has one upstream connection for its plain requests. A body that is a stream is copied by a
second thread, because dockerd answers while it still reads (load, build). An answer that may last (``endless``) and a hijacked
connection leave this process: ds01-splice carries them, so that they outlive it; such requests get an upstream connection of their
own that ends with the answer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from http import HTTPStatus

from ds01.core.gate.chunked import LAST_CHUNK, encode_chunk
from ds01.core.gate.context import Context
from ds01.core.gate.identity import Identity
from ds01.core.gate.image_archive import Named
from ds01.core.gate.request_head import RequestHead, serialise
from ds01.core.gate.response_rules import cap_api_header, needs_body, rewrite
from ds01.core.gate.verdict import Answer, Forward, GrantClaim, OwnImage, Stop
from ds01.docker_upstream import DaemonUnavailable, Link, Response
from ds01_gate.archive_upload import Approve
from ds01_gate.cdi_notice import UNRESOLVABLE, cdi_pauses, notice_now, too_early
from ds01_gate.client_stream import ClientStream
from ds01_gate.effects import Outcome
from ds01_gate.streams import Mode, Streams
from ds01_gate.upload import Upload, known_length

_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "upgrade", "trailer", "te", "proxy-authenticate"}
)


_IMAGE_ID = re.compile(rb'"(?:ID|Id|status)":"(sha256:[0-9a-f]{64})"')
_IMAGE_ID_BYTES = 90
_SHORT = 1024


class Forwarder:
    """The upstream side of one client connection."""

    def __init__(self, docker: str, client: ClientStream, streams: Streams) -> None:
        self._docker = docker
        self._client = client
        self._streams = streams
        self._link: Link | None = None
        self._approve: Approve | None = None
        self._upload: Upload | None = None
        self._uploader: threading.Thread | None = None
        self.said = b""
        """The last answer as the client got it, where it was short; nothing for any other."""

    def close(self) -> None:
        """Close the upstream connection."""
        if self._link is not None:
            if self._uploader is not None and self._uploader.is_alive():
                with contextlib.suppress(OSError):
                    self._link.socket.shutdown(socket.SHUT_RDWR)
            self._link.close()
            self._link = None

    def forward(
        self,
        head: RequestHead,
        verdict: Forward,
        identity: Identity,
        context: Context,
        outcome: Outcome,
        begin: Callable[[], None],
        approve: Approve | None = None,
    ) -> bool:
        """Send, answer; True when the client's connection can be used again.

        ``begin`` is called before the first byte of dockerd's answer goes to the client. ``approve`` judges the names in an archive of
        images. Raises DaemonUnavailable and ClientGone, and what ``approve`` raises.
        """
        self._approve, self._upload, self.said = approve, None, b""
        try:
            response, said = self._answered(head, verdict)
            outcome.status = response.status
            link = self._link
            if link is None:
                raise DaemonUnavailable("the connection to dockerd is gone")
            if response.status == 200 and needs_body(verdict.response):
                said = rewrite(verdict.response, b"".join(link.body(response)), identity, context, verdict.most)
            begin()
            return self._answer(head, verdict, context, response, said, link, outcome)
        except BaseException:
            self.close()
            raise

    def _answered(self, head: RequestHead, verdict: Forward) -> tuple[Response, bytes | None]:
        """As ``_respond``; of an archive the refusal counts, not what dockerd said to its breaking off."""
        try:
            response, said = self._respond(head, verdict)
            if verdict.archive and response.status < 400 and self._uploader is not None:
                self._uploader.join()
        except DaemonUnavailable:
            if refusal := self._refusal():
                raise refusal from None
            raise
        if refusal := self._refusal():
            raise refusal
        return response, said

    def _refusal(self) -> Exception | None:
        return None if self._upload is None else self._upload.refusal

    def _respond(self, head: RequestHead, verdict: Forward) -> tuple[Response, bytes | None]:
        """The head of dockerd's answer, and its body where that had to be read.

        A start whose CDI device dockerd has not noticed yet is tried again, where the container is still there for it.
        """
        grant = next((effect for effect in verdict.before if isinstance(effect, GrantClaim)), None)
        once = grant is not None and grant.removed_on_failure
        pauses = cdi_pauses() if grant is not None else iter(())
        if once:
            threading.Event().wait(notice_now())
        while True:
            link = self._send(head, verdict)
            self._client.wait_for(link.socket, uploading=verdict.stream and head.has_body)
            response = link.response(verdict.method)
            if verdict.endless:
                # Builds and pulls may say nothing for long; when the client goes, so does the connection, and dockerd ends them.
                link.before_reading = functools.partial(self._client.wait_for, link.socket, uploading=verdict.stream and head.has_body)
            if response.status < 400 or (pause := next(pauses, None)) is None:
                return response, None
            text = b"".join(link.body(response))
            if UNRESOLVABLE.encode() not in text:
                return response, text
            if not response.keep:
                self.close()
            if grant is not None and once:
                raise too_early(grant)
            threading.Event().wait(pause)

    def _send(self, head: RequestHead, verdict: Forward) -> Link:
        lasting = verdict.endless or verdict.hijack
        if lasting:
            self.close()
        fresh = self._link is None
        link = self._link = self._link or Link(self._docker)
        headers = list(verdict.headers)
        if verdict.endless and not verdict.hijack:
            headers.append(("Connection", "close"))
        stream = verdict.stream and head.has_body
        chunked = stream and (verdict.archive or known_length(head) is None)
        length = known_length(head) if stream and not chunked else len(verdict.body or b"")
        if verdict.body is None and verdict.method in ("GET", "HEAD") and not stream:
            length = None
        raw = serialise(
            verdict.method, verdict.target, headers, length=None if chunked else length, chunked=chunked, upgrade=verdict.upgrade
        )
        try:
            link.send(raw + (verdict.body or b""))
        except DaemonUnavailable:
            if fresh:
                raise
            # dockerd had closed the idle connection, as it does when it restarts; nothing of this request was executed.
            self.close()
            return self._send(head, verdict)
        if stream:
            self._upload = Upload(self._client, head, link, (self._approve or _nobody) if verdict.archive else None)
            self._uploader = threading.Thread(target=self._upload.run, daemon=True)
            self._uploader.start()
        return link

    def _answer(
        self, head: RequestHead, verdict: Forward, context: Context, response: Response, said: bytes | None, link: Link, outcome: Outcome
    ) -> bool:
        if response.status == 101:
            if not verdict.hijack:
                raise DaemonUnavailable("dockerd changed the protocol unasked")
            self._hand_over(link, response, Mode.DUPLEX, _kept(response, upgrade=True))
            return False
        framed = (response.chunked and head.minor == 1) or response.until_close
        if verdict.endless and framed and response.status < 300 and self._client.body_read and not verdict.after:
            self._hand_over(link, response, Mode.RESPONSE, _kept(response, upgrade=False))
            return False
        fields = [
            (name, cap_api_header(value, context) if name.lower() == "api-version" else value)
            for name, value in response.headers
            if name.lower() not in _HOP_BY_HOP
        ]
        if said is not None:
            response = dataclasses.replace(response, length=len(said), chunked=False)
        pieces = link.body(response) if said is None else iter([said])
        if any(isinstance(effect, OwnImage) for effect in verdict.after) and not verdict.archive:
            pieces = _noticing_image(pieces, outcome)
        return self._relay(head, response, fields, pieces)

    def _hand_over(self, link: Link, response: Response, mode: Mode, fields: Iterable[tuple[str, str]]) -> None:
        start = _head(response.status, response.reason, fields) + link.leftover()
        self._link = None
        self._streams.carry(self._client.socket, link.socket, mode, start, self._client.leftover() if mode is Mode.DUPLEX else b"")

    def _relay(self, head: RequestHead, response: Response, fields: list[tuple[str, str]], pieces: Iterator[bytes]) -> bool:
        chunked = response.length is None and head.minor == 1
        keep = head.keep_alive and self._client.body_read and (chunked or response.length is not None)
        if chunked:
            fields.append(("Transfer-Encoding", "chunked"))
        elif head.method == "HEAD":
            fields += [("Content-Length", length)] if (length := response.header("content-length")) is not None else []
        elif response.length is not None and response.status not in (204, 304):
            fields.append(("Content-Length", str(response.length)))
        start = _head(response.status, response.reason, [*fields, *_connection(head, keep)])
        if not chunked and (response.length or 0) <= _SHORT:
            self.said = start = start + b"".join(pieces)
        for piece in pieces:
            self._client.send(start + (encode_chunk(piece) if chunked else piece))
            start = b""
        if start or chunked:
            self._client.send(start + (LAST_CHUNK if chunked else b""))
        self._after_answer(response)
        return keep

    def _after_answer(self, response: Response) -> None:
        if not response.keep or not self._client.body_read:
            self.close()


def _nobody(names: Sequence[Named], images: Sequence[str]) -> None:
    raise Stop(503, "nobody judges this archive", "image-archive")


def _noticing_image(pieces: Iterator[bytes], outcome: Outcome) -> Iterator[bytes]:
    """The pieces, while the id of the image that a build, commit or import tells of is noticed; the last one counts.

    What a build prints stands in JSON strings, where a quote is escaped: it can't look like this.
    """
    rest = b""
    for piece in pieces:
        rest += piece
        for found in _IMAGE_ID.finditer(rest):
            outcome.images = (found.group(1).decode(),)
        rest = rest[-_IMAGE_ID_BYTES:]
        yield piece


def _kept(response: Response, *, upgrade: bool) -> list[tuple[str, str]]:
    """The head's fields for a stream that is copied as it is: with its framing, and ending with the connection unless it is an upgrade."""
    hop = {"connection", "keep-alive"}
    if upgrade:
        return list(response.headers)
    return [(name, value) for name, value in response.headers if name.lower() not in hop] + [("Connection", "close")]


def _connection(head: RequestHead, keep: bool) -> list[tuple[str, str]]:
    if not keep:
        return [("Connection", "close")]
    return [("Connection", "keep-alive")] if head.minor == 0 else []


def _head(status: int, reason: str, fields: Iterable[tuple[str, str]]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status} {reason}\r\n{lines}\r\n".encode("latin-1")


def plain_answer(head: RequestHead | None, answer: Answer, *, keep: bool) -> bytes:
    """The gate's own answer as bytes."""
    body = answer.encoded()
    try:
        reason = HTTPStatus(answer.status).phrase
    except ValueError:
        reason = "Refused"
    fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Server", "ds01-gate")]
    fields += _connection(head, keep) if head is not None else [("Connection", "close")]
    return _head(answer.status, reason, fields) + (b"" if head is not None and head.method == "HEAD" else body)
