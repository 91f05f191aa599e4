# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a route of the Docker API is: the words that ``routes`` writes its table in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from .verdict import ResponseRule

MAX_JSON = 1024 * 1024


class Access(Enum):
    """PASS: no object behind it. FILTER: the list shows the caller's own. OWNER: the object must be the caller's.
    REWRITE: the request is rebuilt with what the gate sets. ADMIN: for admins. DENY: for nobody."""

    PASS = "pass"
    FILTER = "filter"
    OWNER = "owner"
    REWRITE = "rewrite"
    ADMIN = "admin"
    DENY = "deny"


class Body(Enum):
    """NONE: no body; bytes that come are read (at most MAX_JSON) and handed to the judge, who refuses all but an empty value.
    JSON: read whole, at most MAX_JSON, and handed to the judge.
    STREAM: not read before the verdict; copied and framed anew if it is forwarded.
    """

    NONE = "none"
    JSON = "json"
    STREAM = "stream"


class Param(Enum):
    """Type of a query parameter. FLAG is dockerd's boolean, REPEATED may be given several times, FILTERS is the JSON of filters.
    IGNORED is what old clients send and dockerd does not read: it is dropped."""

    TEXT = "text"
    FLAG = "flag"
    INTEGER = "integer"
    JSON = "json"
    FILTERS = "filters"
    REPEATED = "repeated"
    IGNORED = "ignored"


@dataclass(frozen=True)
class Route:
    """One method and path. In ``template`` ``{id}`` is one segment and ``{name*}`` one or more; ``**`` matches whatever follows.

    ``rule`` names the function in ``judge`` that decides. ``upgrades`` are the protocols it may hijack to. ``endless`` answers last long.
    ``alone``: the caller's requests of this kind are judged and forwarded one at a time (count limits, names).
    """

    method: str
    template: str
    access: Access
    rule: str
    query: Mapping[str, Param] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    body: Body = Body.NONE
    upgrades: tuple[str, ...] = ()
    endless: bool = False
    alone: bool = False
    response: ResponseRule = ResponseRule.PASS

    @property
    def name(self) -> str:
        """How audit and messages call the route."""
        return f"{self.method} {self.template}"
