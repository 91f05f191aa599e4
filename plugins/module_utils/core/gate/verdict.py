# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the judge says: forward a rebuilt request, answer it here, or look something up first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from .facts import Question


class ResponseRule(Enum):
    """What to do with the daemon's answer. Everything but PASS and CAP_HEADER needs the whole JSON body: ``response_rules.rewrite``."""

    PASS = "pass"
    CAP_HEADER = "cap_header"
    CAP_VERSION = "cap_version"
    INFO = "info"
    OWN_CONTAINERS = "own_containers"
    OWN_NETWORKS = "own_networks"
    SHARED_NETWORK = "shared_network"


@dataclass(frozen=True)
class EnsureVolume:
    """Before: the volume exists, made with the local driver, exactly these ``options`` and ``labels``.

    One that is there with other options or other ``ds01.*`` labels is a conflict (409), never reused.
    """

    name: str
    labels: Mapping[str, str] = field(hash=False)
    options: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class EnsureNetwork:
    """Before: the bridge exists, with these ``labels``. One that is there with other ``ds01.*`` labels is a conflict (409)."""

    name: str
    labels: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True)
class MakeDirectory:
    """Before: make the directory and missing parents with the caller's ids and umask 022; fails when the caller may not."""

    path: str


@dataclass(frozen=True)
class EnsureSlice:
    """Before: the slice exists below the person's slice with the person's limits and without a GPU."""

    name: str
    uid: int
    user: str


@dataclass(frozen=True)
class GrantClaim:
    """Before: devices are chosen and the claim's CDI spec and slice exist. Idempotent: a live claim of the container stays as it is.

    Taken back when this request made it and the daemon then answers neither 2xx nor 304. The limits that count are those of ``user``,
    the owner of the container, who need not be the caller. ``removed_on_failure``: a start of it that fails is its end (``--rm``).
    """

    claim_id: str
    uid: int
    user: str
    container_id: str
    container_name: str
    request: str
    removed_on_failure: bool = False


@dataclass(frozen=True)
class ReleaseClaim:
    """After success: the claim ends now, without its hold, if it is that container's."""

    claim_id: str
    container_id: str


@dataclass(frozen=True)
class RecordImage:
    """After success: ``ref`` (with its tag) was last written by ``user``; None when it came from a registry."""

    ref: str
    user: str | None


@dataclass(frozen=True)
class OwnImage:
    """After success: the new image that the answer names was made by ``user``."""

    user: str


Effect = EnsureVolume | EnsureNetwork | MakeDirectory | EnsureSlice | GrantClaim | ReleaseClaim | RecordImage | OwnImage


@dataclass(frozen=True)
class Forward:
    """A request of our own making, to be sent to the daemon.

    ``path`` and ``query`` are encoded. ``headers`` are names and values without framing, Host and Connection: the sender adds those
    (``request_head.serialise``). ``body`` is sent with Content-Length; with ``stream`` the client's body is framed anew instead.
    ``upgrade`` is the protocol when the connection is to be hijacked after 101. ``endless``: the answer may last as long as a container.
    ``archive``: the body is an archive of images, whose names are judged as it streams.
    ``most``: how many entries a list that ``response`` filters may have; 0 for all.
    """

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    stream: bool = False
    upgrade: str | None = None
    endless: bool = False
    response: ResponseRule = ResponseRule.PASS
    before: tuple[Effect, ...] = ()
    after: tuple[Effect, ...] = ()
    object_id: str = ""
    rule: str = ""
    most: int = 0
    archive: bool = False

    @property
    def hijack(self) -> bool:
        """Whether the connection stops being HTTP after the daemon's 101."""
        return self.upgrade is not None

    @property
    def target(self) -> str:
        """Path and query as they stand in the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclass(frozen=True)
class SweepImages:
    """The gate's own work: remove images that ``user`` made and no container uses; those without a name, and with ``tagged`` others, too.

    ``filters`` narrow them, as in dockerd's list of images. The answer has the form of dockerd's prune.
    """

    user: str
    filters: Mapping[str, list[str]] = field(hash=False)
    tagged: bool = False
    rule: str = "prune_images"


@dataclass(frozen=True)
class Answer:
    """The gate's own answer. ``rule`` names what decided, for the audit. ``close``: the connection cannot be used any further."""

    status: int
    body: Any
    rule: str
    close: bool = False

    def encoded(self) -> bytes:
        """The body as JSON with a final newline, as dockerd writes it."""
        return json.dumps(self.body, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


@dataclass(frozen=True)
class Need:
    """Look these up, add them to the facts and judge again."""

    questions: tuple[Question, ...]


Verdict = Forward | Answer | SweepImages


class Stop(Exception):
    """Raised by a rule to answer in words of its own, such as dockerd's for a thing that does not exist."""

    def __init__(self, status: int, message: str, rule: str) -> None:
        super().__init__(message)
        self.status = status
        self.rule = rule
