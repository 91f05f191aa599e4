# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Where alerts arrive in tests: a mail server and a Teams workflow on loopback. Both keep what they got; both can be made to refuse."""

from __future__ import annotations

import base64
import contextlib
import email.message
import email.policy
import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from typing import Any


class MailSink(socketserver.ThreadingTCPServer):
    """Takes mail by SMTP (RFC 5321). With ``password`` it wants AUTH PLAIN (RFC 4616) first."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, password: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _MailSession)
        self.password = password
        self.mails: list[email.message.EmailMessage] = []
        self.recipients: list[str] = []
        self.refused = 0

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.server_address[1]}"


class _MailSession(socketserver.StreamRequestHandler):
    server: MailSink

    def _say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self) -> None:
        known = not self.server.password
        self._say("220 sink ESMTP")
        while raw := self.rfile.readline():
            words = raw.decode().strip()
            verb = words.split(" ", 1)[0].upper()
            if verb == "EHLO":
                self.wfile.write(b"250-sink\r\n250 AUTH PLAIN\r\n" if self.server.password else b"250 sink\r\n")
            elif verb == "AUTH":
                known = base64.b64decode(words.split(" ")[2]).decode().split("\0")[-1] == self.server.password
                self._say("235 welcome" if known else "535 wrong")
            elif verb == "MAIL" and not known:
                self.server.refused += 1
                self._say("530 who are you")
            elif verb == "RCPT":
                self.server.recipients.append(words.partition("<")[2].partition(">")[0])
                self._say("250 yes")
            elif verb == "DATA":
                self._say("354 go on")
                self._take()
                self._say("250 taken")
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 yes")

    def _take(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b".") else line)
        mail = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        assert isinstance(mail, email.message.EmailMessage)
        self.server.mails.append(mail)


class TeamsSink(http.server.ThreadingHTTPServer):
    """Takes what Alertmanager posts to a Teams workflow, and answers 202 as that does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TeamsHandler)
        self.posts: list[tuple[str, str, int, Any]] = []

    @property
    def url(self) -> str:
        """What a workflow's address looks like: whoever knows it may post."""
        return f"http://127.0.0.1:{self.server_address[1]}/workflows/secret-of-the-workflow"


class _TeamsHandler(http.server.BaseHTTPRequestHandler):
    server: TeamsSink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, self.headers["Content-Type"], len(body), json.loads(body)))
        self.send_response(202)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """A test prints what it asserts."""


@contextlib.contextmanager
def serving(sink: socketserver.TCPServer) -> Iterator[None]:
    """The sink serves as long as the block runs."""
    thread = threading.Thread(target=sink.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        sink.shutdown()
        thread.join()
        sink.server_close()
