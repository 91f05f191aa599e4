# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A ping that was judged, and dockerd's answer to it: for half a second it answers the same ping on the same connection.

Clients ping before other requests, watchers many times a second. Nothing but the very same head is answered so, and whoever is no longer
served here, or a dockerd that is gone, is noticed within that half second.
"""

from __future__ import annotations

from dataclasses import dataclass

from ds01.core.gate.request_head import RequestHead

SECONDS = 0.5
_ROUTES = frozenset({"HEAD /_ping", "GET /_ping"})
_OK = 200


@dataclass(frozen=True)
class RememberedPing:
    """``said`` is the answer as the client got it; ``until`` is monotonic, in seconds."""

    head: RequestHead
    said: bytes
    until: float

    def answers(self, head: RequestHead, now: float) -> bool:
        """Whether that is the answer to this request, too."""
        return now < self.until and head == self.head


def remembered(route: str, head: RequestHead, status: int | None, said: bytes, asked_at: float) -> RememberedPing | None:
    """What to remember of a request that dockerd answered: nothing, unless it was a ping without a body."""
    if route not in _ROUTES or head.has_body or status != _OK or not said:
        return None
    return RememberedPing(head, said, asked_at + SECONDS)
