# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Request lines of all routes: what is sent on names own things only, once, and says what the client said, read as Go reads addresses."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote, unquote_plus

from ds01.core.gate.request_head import BadHead, parse_head, serialise
from ds01.core.gate.verdict import Forward, SweepImages
from tests.fuzz.fuzz_effort import Tally
from tests.fuzz.target_grammar import request_line
from tests.unit.gate.gate_world import GPU_ID, OWN_EXEC, OWN_ID, World

_OWN = {
    "containers": {OWN_ID, GPU_ID},
    "exec": {OWN_EXEC},
    "networks": {"1a" * 32, "3c" * 32, "4d" * 32, "5e" * 32},
    "volumes": {"minevol"},
}
_WITHOUT_OBJECT = {
    "containers": {"json", "create", "prune"},
    "networks": {"create", "prune", "networks"},
    "volumes": {"create", "prune"},
    "exec": set(),
}
_OWN_LISTS = {
    "GET /containers/json",
    "POST /containers/prune",
    "GET /events",
    "GET /volumes",
    "POST /volumes/prune",
    "POST /networks/prune",
}
_SEVERAL = {"t", "changes", "names", "platform", "platforms", "extrahosts", "type"}
_SAID = (
    "path",
    "since",
    "until",
    "detachKeys",
    "comment",
    "author",
    "ps_args",
    "signal",
    "condition",
    "target",
    "dockerfile",
    "tail",
    "term",
)
_STATUSES = {400, 403, 404, 409, 503, 200}
_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


def go_query(raw: str) -> dict[str, list[str]]:
    """url.ParseQuery: settings with a semicolon or a bad escape are left out, the others keep their order."""
    values: dict[str, list[str]] = {}
    for item in raw.split("&"):
        if item and ";" not in item and not _ESCAPE.search(item):
            key, _, value = item.partition("=")
            values.setdefault(unquote_plus(key), []).append(unquote_plus(value))
    return values


def check_forward(method: str, target: str, verdict: Forward) -> None:
    """All that must hold of a request that is sent on."""
    raw_path, _, raw_query = verdict.target.partition("?")
    parts = unquote(raw_path).strip("/").split("/")
    assert not {"", ".", ".."} & set(parts)
    bare = parts[1:] if re.fullmatch(r"v1\.(4[1-9]|5[01])", parts[0]) else parts
    if bare[0] in _OWN and len(bare) > 1 and bare[1] not in _WITHOUT_OBJECT[bare[0]]:
        assert bare[1] in _OWN[bare[0]], f"{bare[1]} is not alice's"
        if bare[0] == "networks" and bare[1] != "1a" * 32:
            assert method == "GET" or (bare[1] == "3c" * 32 and bare[2] in ("connect", "disconnect"))
    assert verdict.method == method
    query = go_query(raw_query)
    assert ";" not in raw_query
    assert all(len(values) == 1 or name in _SEVERAL for name, values in query.items())
    asked = go_query(target.partition("?")[2])
    for name in (name for name in _SAID if name in query):
        assert query[name] == asked[name][:1], f"{name} says something else"
    if f"{method} /{'/'.join(bare)}" in _OWN_LISTS:
        assert json.loads(query["filters"][0])["label"]["ds01.user=alice"] is True
    if bare == ["build"]:
        assert query["cgroupparent"] == ["ds01-u5001-nogpu.slice"]
        assert query.get("networkmode", [""])[0] in ("default", "bridge", "none", f"container:{OWN_ID}")
        assert "remote" not in query
        assert json.loads(query["labels"][0])["ds01.user"] == "alice"
    if bare[:2] == ["images", "create"]:
        assert query.get("fromSrc", ["-"]) == ["-"]
    for ref in (*query.get("repo", ()), *(query.get("t", ()) if bare == ["build"] else ())):
        assert ref.startswith(("alice/", "ds01-u5001/", "vsc-")) or "." in ref.partition("/")[0], f"{ref} is written"
    for change in query.get("changes", ()):
        assert "ds01." not in change.lower() and "nvidia_" not in change.lower()
    head = serialise(verdict.method, verdict.target, verdict.headers, length=len(verdict.body or b""))
    assert parse_head(head).target == verdict.target


def test_targets() -> None:
    tally = Tally("request lines", 0.25)
    world = World()
    for rng in tally.rounds():
        method, target = request_line(rng)
        try:
            verdict = world.ask(method, target.encode("utf-8").decode("latin-1"), {"Cmd": ["id"]} if target.endswith("/exec") else None)
        except BadHead:
            continue
        if isinstance(verdict, SweepImages):
            assert verdict.user == "alice", tally.where
            continue
        if not isinstance(verdict, Forward):
            assert verdict.status in _STATUSES, f"{tally.where}: {verdict} for {method} {target}"
            continue
        tally.forwarded += 1
        try:
            check_forward(method, target, verdict)
        except AssertionError as error:
            raise AssertionError(f"{tally.where}: {error}\nasked: {method} {target}\nsent: {verdict.target}") from error
    tally.report(0.2)
