# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A grammar of request lines: every route of the gate with own, foreign and odd names, and queries with mutated keys and values."""

from __future__ import annotations

import random
from urllib.parse import quote

from ds01.core.gate.route import Param
from ds01.core.gate.routes import ROUTES
from tests.unit.gate.gate_world import BOB_EXEC, BOB_ID, GPU_ID, OWN_EXEC, OWN_ID

_ROUTES = [route for route in ROUTES if not route.template.endswith("**")]
_VERSIONS = ["/v1.45"] * 6 + ["", "", "/v1.41", "/v1.51", "/v1.40", "/v1.52", "/v1.45.0", "/v01.45", "/V1.45", "/v1.45/v1.45", "/", "/."]
_NAMES = {
    "containers": ["mine", OWN_ID, OWN_ID[:12], "gpu", GPU_ID, "bobs", BOB_ID, BOB_ID[:3], "stray", "nobody"],
    "exec": [OWN_EXEC, OWN_EXEC, BOB_EXEC, "3" * 64, OWN_EXEC[:12]],
    "networks": ["alicenet", "1a" * 32, "1a1a", "bobnet", "2b" * 32, "bridge", "host", "none"],
    "volumes": ["minevol", "minevol", "bobvol", "nobodys", "ds01.root.5001.0123"],
    "images": ["bbx", "alice/x", "bob/x", "bobmade", "pytorch:latest", "sha256:" + "7" * 64, "docker.io/library/bbx"],
    "distribution": ["bbx", "alice/x", "docker.io/library/bbx"],
}
_ODD = [
    "..",
    "%2e%2e",
    "a%2f..%2fb",
    "mine%00",
    "mine%2f",
    "%6dine",
    "mi;ne",
    "mine/../bobs",
    "%ff",
    "m\u00efne",
    "mine%20",
    "-x",
    "",
    "mine#",
]
_VALUES = {
    Param.TEXT: [
        "x",
        "mine",
        "bobs",
        "/etc/../x",
        "alice/x",
        "bbx",
        "pytorch",
        "-ef",
        "TERM",
        "next-exit",
        "a b",
        "new1",
        "tab\tx",
        "é",
        "a=b",
        "",
    ],
    Param.FLAG: ["1", "0", "true", "False", "", "no", "2"],
    Param.INTEGER: ["1", "0", "-1", "10", "", "99999999999999999999", "1.5", "0x1"],
    Param.JSON: ["{}", '{"a":"b"}', "[]", '["bbx"]', "", "null", "{", '{"a":1}'],
    Param.FILTERS: [
        '{"label":["a=b"]}',
        '{"label":{"ds01.user=bob":true}}',
        "{}",
        "",
        "null",
        '{"owner":["x"]}',
        '{"label":["a"],"label":["b"]}',
    ],
    Param.REPEATED: ["alice/x", "LABEL a=b", "CMD x", "bbx", "alice/y:1", "LABEL ds01.user=bob", "pytorch", "a:1"],
    Param.IGNORED: ["1", "x"],
}
# What some parameters must be for the request to be taken, so that there is something behind it to look at.
_USUAL = {
    "signal": ["TERM", "9", ""],
    "condition": ["", "removed"],
    "name": ["new1", "other-2"],
    "repo": ["alice/x"],
    "t": ["alice/x", "alice/y:2"],
    "tag": ["1", "latest"],
    "fromImage": ["bbx", "registry.example/x"],
    "fromSrc": ["-"],
    "container": ["mine"],
    "changes": ["CMD x", "LABEL a=b"],
    "names": ["bbx", "alice/x"],
    "ps_args": ["-ef", "aux", "-eo pid,args"],
    "networkmode": ["", "default", "container:mine"],
    "version": ["1"],
    "remote": [""],
    "platform": ["linux/amd64"],
}
_DENIED_ANYWAY = frozenset(("cpusetcpus", "cpusetmems", "outputs", "isolation", "securityopt", "size", "message"))


def request_line(rng: random.Random) -> tuple[str, str]:
    """(method, target)."""
    route = rng.choice(_ROUTES)
    path = rng.choice(_VERSIONS if rng.random() < 0.3 else _VERSIONS[:6])
    for part in route.template.strip("/").split("/"):
        noun = route.template.split("/")[1]
        path += "/" + (part if not part.startswith("{") else _name(rng, noun))
    if rng.random() < 0.02:
        path += rng.choice(("/", "//", "/..", "%2f", "/x", ";", "#a"))
    method = route.method if rng.random() < 0.98 else rng.choice(("GET", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD"))
    items = [_item(rng, name, kind) for name, kind in route.query.items() if rng.random() < (0.9 if name in _USUAL else 0.2)]
    if items and rng.random() < 0.04:
        items.append(rng.choice(items))
    if rng.random() < 0.04:
        items.append(rng.choice(("x=1", "filters={}", "name=bobs", ";", "a;b=c", "Name=bobs", "checkpoint-dir=/etc", "%6eame=bobs")))
    rng.shuffle(items)
    query = "&".join(item for item in items if item)
    return method, path + (f"?{query}" if query or rng.random() < 0.05 else "")


def _name(rng: random.Random, noun: str) -> str:
    if rng.random() < 0.06:
        return rng.choice(_ODD)
    name = rng.choice(_NAMES.get(noun, ["x"])[: 3 if rng.random() < 0.6 else None])
    if rng.random() < 0.08:
        at = rng.randrange(len(name))
        return name[:at] + f"%{ord(name[at]):02x}" + name[at + 1 :]
    return quote(name, safe="/:") if rng.random() < 0.5 else name


def _item(rng: random.Random, name: str, kind: Param) -> str:
    if name in _DENIED_ANYWAY and rng.random() < 0.9:
        return ""
    pool = _USUAL[name] if name in _USUAL and rng.random() < 0.85 else _VALUES[kind]
    if kind in (Param.INTEGER, Param.JSON, Param.FILTERS) and rng.random() < 0.8:
        pool = pool[:2]
    value = rng.choice(pool)
    written = quote(value, safe="/:,") if rng.random() < 0.9 else value.replace(" ", "+")
    if rng.random() < 0.03:
        name = "".join(f"%{ord(c):02X}" if rng.random() < 0.3 else c for c in name)
    return f"{name}={written}" if value or rng.random() < 0.8 else name
