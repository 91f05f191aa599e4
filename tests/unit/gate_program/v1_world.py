# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The API over a host on which everybody has something with a name that must stay theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ds01_gate.caller import Caller
from ds01_gate.v1_api import V1Api, refused
from ds01_gate.v1_handlers import Sources, V1Handlers

from ds01.caller_paths import Rights
from ds01.cgroup_fs import CgroupFs
from ds01.core.event import Event
from ds01.core.gate.identity import Identity
from ds01.core.gate.request_head import parse_head
from ds01.core.gate.verdict import Answer
from ds01.core.refusal import Refusal
from ds01.core.reservation import Reservation
from ds01.peer_identity import Peer
from ds01.reservation_file import save
from tests.unit.gate_program.turn_bench import ONE, TurnBench


def secret(uid: int, what: str) -> str:
    """A name that only ``uid`` and administrators may ever see."""
    return f"secret{uid}x{what}"


class ScriptedDaemon:
    """dockerd as far as the API asks it."""

    def call(self, _method: str, path: str) -> Any:
        return {"ApiVersion": "1.45"} if path == "/version" else []


class GoodPolicy:
    """A policy that is in force."""

    problem = None


class V1World:
    """People 1 to 6; 6 is an administrator. ``busy`` start containers, ``waiting`` queue, ``reserving`` have a reservation."""

    def __init__(self, root: Path, busy: list[int], waiting: list[int], reserving: list[int]) -> None:
        self.bench = bench = TurnBench(root, gpus=3)
        workloads = []
        for number, uid in enumerate(busy[:3]):
            identity = f"{uid:06x}{number:06x}"
            person = replace(bench.limits_of(uid), user=secret(uid, "user"))
            name = secret(uid, f"box{number}")
            bench.allocator.grant(f"c{identity}", person, uid, ONE, secret(uid, identity), name)
            workloads.append({"uid": uid, "user": person.user, "name": name, "processes": [], "gpus": [{"uuid": secret(uid, "gpu")}]})
            bench.log.append(Event("claim.granted", 999.0, person.user, uid, name, secret(uid, identity), by="ds01-gate"))
        for uid in waiting:
            bench.turns.join(replace(bench.limits_of(uid), user=secret(uid, "user")), uid, "count=1", secret(uid, "waits"))
        bench.allocator.arrange()
        bench.now += 1
        save(root / "reservations.json", [plan(uid, number) for number, uid in enumerate(dict.fromkeys(reserving))])
        watched = {"v": 1, "time": 1000.0, "simulated": True, "sources": {"docker": {"ok": True, "error": None}}, "workloads": workloads}
        (root / "inventory.json").write_text(json.dumps({**watched, "gpus": []}))
        sources = Sources(
            bench.allocator,
            ScriptedDaemon(),  # type: ignore[arg-type]
            GoodPolicy(),  # type: ignore[arg-type]
            CgroupFs(),
            bench.turns,
            bench.recorder,
            bench.log,
            str(root / "inventory.json"),
            lambda: bench.now,
        )
        self.api = V1Api(V1Handlers(sources).table())

    def caller(self, uid: int) -> Caller:
        """Somebody at the gate."""
        user = secret(uid, "user")
        limits = replace(self.bench.limits_of(uid), user=user, admin=uid == 6)
        identity = Identity(uid, user, uid, (), uid == 6, True)
        return Caller(Peer(1, uid, uid, True, "python"), identity, limits, Rights(uid, uid, ()))

    def ask(self, uid: int, method: str, target: str, body: bytes = b"", media: str = "application/json") -> Answer:
        """The answer, as the connection makes it."""
        fields = f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n" if body else ""
        head = parse_head(f"{method} {target} HTTP/1.1\r\nHost: d\r\n{fields}\r\n".encode("latin-1"))
        try:
            return self.api.answer(self.caller(uid), head, body if self.api.takes_body(head) else b"")
        except Refusal as refusal:
            return Answer(refusal.status, refused(refusal), refusal.rule)


def plan(uid: int, number: int) -> Reservation:
    """A reservation of ``uid``."""
    holders = frozenset({secret(uid, "user")})
    return Reservation(secret(uid, "plan"), frozenset({f"GPU-{number}"}), holders, frozenset(), 0, 1e12, secret(uid, "why"))
