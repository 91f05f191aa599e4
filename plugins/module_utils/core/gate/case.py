# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A case before the judge: the request as admitted by its head, its body, and everything a rule may look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..limits import Limits
from .context import Context
from .facts import Facts
from .identity import Identity
from .request_head import RequestHead
from .route import MAX_JSON, Body, Route


@dataclass(frozen=True)
class Admitted:
    """A request whose head is in order. ``names`` are the decoded names in the path; ``query`` holds canonical values by parameter.

    ``version`` is (1, minor) as the client gave it, or None. What the caller must do next is in ``body``, ``max_body`` and ``alone``.
    ``read_before`` remembers the body that was parsed, because a case is judged once for every round of facts.
    """

    head: RequestHead
    route: Route
    version: tuple[int, int] | None
    names: Mapping[str, str] = field(hash=False)
    query: Mapping[str, Any] = field(hash=False)
    read_before: list[tuple[bytes, Any]] = field(default_factory=list, compare=False, repr=False)

    @property
    def body(self) -> Body:
        """How the body is to be read."""
        return self.route.body

    @property
    def max_body(self) -> int:
        """At most this many bytes are read for the judge; a longer body is answered with 413. 0 for streams."""
        return 0 if self.route.body is Body.STREAM else MAX_JSON

    @property
    def alone(self) -> bool:
        """Whether the caller's lock is held from before the first fact until the daemon has answered."""
        return self.route.alone


@dataclass(frozen=True)
class Case:
    """One request under judgement. ``body`` is the parsed JSON value, None when there is none."""

    identity: Identity
    request: Admitted
    body: Any
    facts: Facts
    limits: Limits
    context: Context
