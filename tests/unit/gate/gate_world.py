# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A small server for the judge: alice, bob, an admin, and what they own. It answers every question that a rule may ask."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any
from urllib.parse import quote

from ds01.core.gate.case import Admitted
from ds01.core.gate.context import Context
from ds01.core.gate.facts import (
    Bind,
    BindFact,
    Container,
    ContainerFact,
    Exec,
    ExecFact,
    Facts,
    Image,
    ImageFact,
    ImageSpaceFact,
    LegacyFact,
    Network,
    NetworkCountFact,
    NetworkFact,
    Root,
    RootFact,
    RunningFact,
    Volume,
    VolumeCountFact,
    VolumeFact,
)
from ds01.core.gate.identity import Identity
from ds01.core.gate.judge import admit, judge
from ds01.core.gate.request_head import parse_head
from ds01.core.gate.verdict import Answer, Forward, Need, Verdict
from ds01.core.limits import AggregateLimits, BindRoot, ContainerLimits, GpuLimits, LifecycleLimits, Limits

GIB = 1024**3
ALICE = Identity(5001, "alice", 5001, (("alice", 5001), ("students", 6000), ("docker", 998)))
BOB = Identity(5002, "bob", 5002, (("bob", 5002),))
ADMIN = Identity(5000, "root1", 5000, (("ds01-admin", 7000),), admin=True)
OWN_ID, BOB_ID, GPU_ID = "a" * 64, "b" * 12 + "c" * 52, "d" * 64
OWN_EXEC, BOB_EXEC, DEAD_EXEC = "1" * 64, "2" * 64, "3" * 64
CLAIM = "c0123456789ab"
NEW_CLAIM = "cfedcba987654"
UUID = "GPU-12345678-1234-1234-1234-123456789abc"


def owner(identity: Identity) -> dict[str, str]:
    return {"ds01.user": identity.user, "ds01.uid": str(identity.uid)}


LIMITS = Limits(
    user="alice",
    group="student",
    priority=10,
    admin=False,
    bare_metal=False,
    gpu=GpuLimits(Fraction(2), 2, full_gpu=False, by_uuid=False, profiles=("1g.10gb", "2g.20gb"), pools=("interactive",)),
    container=ContainerLimits(count=3, cpus=8.0, memory=32 * GIB, shm=8 * GIB, pids=2048),
    aggregate=AggregateLimits(16.0, None, 64 * GIB, 4096, 100, None, None, None, 10, 200 * GIB),
    lifecycle=LifecycleLimits(None, None, 3600, None, None, 30, 1.0),
    bind_roots=(BindRoot("/home/alice", True), BindRoot("/scratch/alice", True), BindRoot("/data", False), BindRoot("/unsafe/alice", True)),
)
CONTEXT = Context(api_max=(1, 51), created_at="2026-01-02T03:04:05Z", new_claim_id=NEW_CLAIM, host_cpus=64)


@dataclass
class World:
    """What exists. ``paths`` maps a path to where it leads; everything below a bind root that is not listed is an own directory."""

    identity: Identity = ALICE
    limits: Limits = LIMITS
    context: Context = CONTEXT
    containers: list[Container] = field(
        default_factory=lambda: [
            Container(OWN_ID, "mine", owner(ALICE), networks=("alicenet",)),
            Container(GPU_ID, "gpu", {**owner(ALICE), "ds01.claim": CLAIM, "ds01.gpu.request": "count=1"}),
            Container(BOB_ID, "bobs", owner(BOB), running=True),
            Container("e" * 64, "stray", {}),
        ]
    )
    execs: dict[str, str] = field(default_factory=lambda: {OWN_EXEC: OWN_ID, BOB_EXEC: BOB_ID, DEAD_EXEC: "f" * 64})
    volumes: list[Volume] = field(
        default_factory=lambda: [
            Volume("minevol", owner(ALICE)),
            Volume("bobvol", owner(BOB)),
            Volume("nobodys", {}),
            Volume("ds01.root.5001.0123", {"ds01.internal": "bind-root"}),
        ]
    )
    networks: list[Network] = field(
        default_factory=lambda: [
            Network("1a" * 32, "alicenet", owner(ALICE)),
            Network("2b" * 32, "bobnet", owner(BOB)),
            Network("3c" * 32, "bridge", {}),
            Network("4d" * 32, "host", {}),
            Network("5e" * 32, "none", {}),
        ]
    )
    images: dict[str, Image] = field(
        default_factory=lambda: {
            "bbx": Image("sha256:" + "7" * 64, tags=("bbx:latest",)),
            "pytorch": Image("sha256:" + "8" * 64, tags=("pytorch:latest",), volumes=("/workspace",)),
            "labelled": Image("sha256:" + "9" * 64, labels=("ds01.user", "ds01.protected", "maintainer")),
            "bobmade": Image("sha256:" + "6" * 64, writer="bob", tags=("bobmade:latest",)),
            "adminmade": Image("sha256:" + "5" * 64, writer="root1", writer_is_admin=True),
            "alice/x": Image("sha256:" + "4" * 64, writer="alice", tags=("alice/x:latest",)),
            "bob/x": Image("sha256:" + "3" * 64, writer="bob", tags=("bob/x:latest",)),
        }
    )
    paths: dict[str, Bind] = field(
        default_factory=lambda: {
            "/home/alice/to-etc": Bind("/etc", "directory"),
            "/home/alice/to-bob": Bind("/home/bob", "directory"),
            "/home/alice/to-scratch": Bind("/scratch/alice/deep", "directory"),
            "/home/alice/new": Bind("/home/alice/new", "missing"),
            "/home/alice/sock": Bind("/home/alice/sock", "other"),
            "/home/alice/file": Bind("/home/alice/file", "file"),
            "/home/alice/secret": Bind(None, "missing", "permission denied"),
        }
    )
    roots: dict[str, Root] = field(
        default_factory=lambda: {
            "/home/alice": Root("/home/alice", True, True),
            "/scratch/alice": Root("/scratch/alice", True, True),
            "/data": Root("/data", True, True),
            "/unsafe/alice": Root("/unsafe/alice", False, True),
        }
    )
    running: int = 0
    legacy: int = 0
    network_count: int = 1
    volume_count: int = 1
    image_space: int = 0

    def answer(self, question: Any) -> Any:
        if isinstance(question, ContainerFact):
            exact = [c for c in self.containers if question.ref in (c.id, c.name)]
            prefixed = [c for c in self.containers if c.id.startswith(question.ref)]
            return exact[0] if exact else prefixed[0] if len(prefixed) == 1 else None
        if isinstance(question, ExecFact):
            return Exec(question.id, self.execs[question.id]) if question.id in self.execs else None
        if isinstance(question, VolumeFact):
            return next((v for v in self.volumes if v.name == question.name), None)
        if isinstance(question, NetworkFact):
            return next((n for n in self.networks if n.name == question.ref or n.id.startswith(question.ref)), None)
        if isinstance(question, ImageFact):
            return self.images.get(question.ref.removesuffix(":latest")) or next(
                (i for i in self.images.values() if i.id == question.ref), None
            )
        if isinstance(question, BindFact):
            return self.paths.get(question.path, Bind(question.path, "directory"))
        if isinstance(question, RootFact):
            return self.roots.get(question.path)
        if isinstance(question, RunningFact):
            return self.running
        if isinstance(question, LegacyFact):
            return self.legacy
        if isinstance(question, NetworkCountFact):
            return self.network_count
        if isinstance(question, VolumeCountFact):
            return self.volume_count
        if isinstance(question, ImageSpaceFact):
            return self.image_space
        raise TypeError(question)

    def as_(self, identity: Identity) -> World:
        return replace(self, identity=identity)

    def ask(
        self, method: str, target: str, body: Any = None, *, raw: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Verdict:
        """The verdict on a request; ``body`` is sent as JSON, ``raw`` as it is."""
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        fields = {
            "Host": "docker",
            **({"Content-Type": "application/json", "Content-Length": str(len(data))} if data else {}),
            **(headers or {}),
        }
        head = parse_head(
            f"{method} {target} HTTP/1.1\r\n{''.join(f'{k}: {v}' + chr(13) + chr(10) for k, v in fields.items())}\r\n".encode("latin-1")
        )
        admitted = admit(self.identity, head, self.context)
        if isinstance(admitted, Answer):
            return admitted
        return self.judged(admitted, data)

    def judged(self, admitted: Admitted, data: bytes) -> Verdict:
        facts = Facts()
        for _ in range(6):
            verdict = judge(self.identity, admitted, data, facts, self.limits, self.context)
            if not isinstance(verdict, Need):
                return verdict
            facts = facts.told({question: self.answer(question) for question in verdict.questions})
        raise RuntimeError("the judge asks for ever")

    def create(self, host: dict[str, Any] | None = None, *, name: str = "", **config: Any) -> Verdict:
        body = {"Image": "bbx", "HostConfig": host or {}, **config}
        return self.ask("POST", "/v1.45/containers/create" + (f"?name={quote(name)}" if name else ""), body)


def body_of(verdict: Verdict) -> dict[str, Any]:
    """The JSON body of a request that is forwarded."""
    if not isinstance(verdict, Forward) or verdict.body is None:
        raise TypeError(f"expected a forwarded body, got {verdict}")
    value = json.loads(verdict.body)
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {value}")
    return value


def status_of(verdict: Verdict) -> int:
    """The status of an answer, 200 for what is forwarded."""
    return verdict.status if isinstance(verdict, Answer) else 200
