# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What is known of a request so far, for the log."""

from __future__ import annotations

import secrets

from ds01.core.gate.case import Admitted
from ds01.core.gate.request_head import RequestHead
from ds01.core.gate.verdict import Forward
from ds01_gate.caller import Caller


class KnownRequest:
    """One request; ``sent``: it went to dockerd, ``answering``: the client has part of dockerd's answer."""

    def __init__(self, head: RequestHead) -> None:
        self.head = head
        self.id = secrets.token_hex(6)
        self.name = f"{head.method} {head.target.partition('?')[0][:200]}"
        self.caller: Caller | None = None
        self.object_id = ""
        self.rule = ""
        self.status: int | None = None
        self.keep = False
        self.container = ""
        self.sent = False
        self.answering = False
        self.admitted: Admitted | None = None

    def take(self, verdict: Forward) -> None:
        """The verdict's names for the object and the rule."""
        self.object_id = verdict.object_id
        self.rule = verdict.rule

    def begin(self) -> None:
        """From here on the client has part of dockerd's answer: there is no other answer any more."""
        self.answering = True
