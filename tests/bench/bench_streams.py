# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""How fast bytes go through the gate: against dockerd's own socket, in turns, as medians of the ratios of pairs.

    python tests/bench/bench_streams.py [--rounds 7] [--megabytes 64] [--only pings load]

``exec out`` is a hijacked stream, ``cp in`` and ``cp out`` are archives, ``load`` is an image (an admin's, at the gate; taken apart like
everybody's). What goes in has a known length; ``cp in, chunked`` and ``load, chunked`` come in chunks of 32 KiB, as the CLI sends them.
``pings`` are 50 clients with 25 requests each. Ratios are of speeds: 1 is dockerd's own, less is slower.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / ".cache" / "lib"), str(ROOT / "files")]

from tests.integration.daemons import running  # noqa: E402
from tests.integration.gate.gate_process import gate_before  # noqa: E402
from tests.integration.gate.people import Reply, Wire  # noqa: E402
from tests.integration.lab import Person, lab  # noqa: E402

TARGETS = {"exec out": 0.9, "cp in": 0.8, "cp in, chunked": 0.8, "cp out": 0.8, "load": 0.8, "load, chunked": 0.8, "pings": 0.8}
_CHUNK = 32 * 1024
V = "/v1.45"
Way = tuple[str, Person | None]


def _ask(way: Way, method: str, target: str, body: bytes = b"", kind: str = "application/json", *, chunked: bool = False) -> Reply:
    wire = Wire(*way)
    head = f"{method} {V}{target} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: {kind}\r\n"
    if chunked:
        wire.send(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        whole = memoryview(body)
        for piece in (whole[at : at + _CHUNK] for at in range(0, len(body), _CHUNK)):
            wire.socket.sendmsg([b"%x\r\n" % len(piece), piece, b"\r\n"])
        wire.send(b"0\r\n\r\n")
    else:
        wire.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        wire.send(body)
    reply = wire.reply(method)
    wire.close()
    if reply.status >= 400:
        raise RuntimeError(f"{method} {target}: {reply.status} {reply.body[:300]!r}")
    return reply


def _archive(megabytes: int) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo("big")
        entry.size = megabytes << 20
        archive.addfile(entry, io.BytesIO(os.urandom(1 << 20) * megabytes))
    return made.getvalue()


def _exec_out(way: Way, container: str, megabytes: int) -> None:
    wanted = {"Cmd": ["dd", "if=/dev/zero", "bs=1M", f"count={megabytes}"], "AttachStdout": True}
    made = _ask(way, "POST", f"/containers/{container}/exec", json.dumps(wanted).encode()).json["Id"]
    wire, body = Wire(*way), b'{"Detach": false, "Tty": false}'
    upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json"
    wire.send(f"POST {V}/exec/{made}/start HTTP/1.1\r\nHost: d\r\n{upgrade}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    wire.head()
    got = 0
    while piece := wire.read(1 << 20):
        got += len(piece)
    wire.close()
    if got < megabytes << 20:
        raise RuntimeError(f"{got} bytes came of {megabytes} MiB")


def _pings(way: Way) -> None:
    def client(_: int) -> None:
        wire = Wire(*way)
        for _ in range(25):
            wire.send(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
            wire.reply()
        wire.close()

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(client, range(50)))


def main() -> int:
    """Measure and print; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description="How fast bytes go through the gate, as ratios against dockerd's own socket.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=64)
    parser.add_argument("--only", nargs="+", choices=tuple(TARGETS), default=tuple(TARGETS), help="these operations alone")
    options = parser.parse_args()
    with lab() as place:
        boss = place.add_person("boss", 5003, "docker", "ds01-admin")
        with running("sid", place.path, place.cdi("sid")) as daemon, gate_before(place, daemon, "streams") as gate:
            daemon.import_image("busybox:latest", place.image)
            ways: dict[str, Way] = {"direct": (str(daemon.socket), None), "gate": (str(gate.socket), boss)}
            body = json.dumps({"Image": "busybox", "Cmd": ["sleep", "3600"], "HostConfig": {"NetworkMode": "none"}}).encode()
            box = _ask(ways["gate"], "POST", "/containers/create", body).json["Id"]
            _ask(ways["gate"], "POST", f"/containers/{box}/start")
            files = _archive(options.megabytes)
            _ask(ways["direct"], "PUT", f"/containers/{box}/archive?path=/tmp", files, "application/x-tar")
            committed = _ask(ways["gate"], "POST", f"/commit?container={box}&repo=boss/big", b"{}").json["Id"]
            image = _ask(ways["direct"], "GET", f"/images/{committed}/get").body
            put, load, tar = f"/containers/{box}/archive?path=/tmp", "/images/load?quiet=1", "application/x-tar"
            operations: dict[str, Callable[[Way], object]] = {
                "exec out": lambda way: _exec_out(way, box, options.megabytes * 2),
                "cp in": lambda way: _ask(way, "PUT", put, files, tar),
                "cp in, chunked": lambda way: _ask(way, "PUT", put, files, tar, chunked=True),
                "cp out": lambda way: _ask(way, "GET", f"/containers/{box}/archive?path=/tmp/big"),
                "load": lambda way: _ask(way, "POST", load, image, tar),
                "load, chunked": lambda way: _ask(way, "POST", load, image, tar, chunked=True),
                "pings": _pings,
            }
            return _measured({name: operations[name] for name in options.only}, ways, options.rounds)


def _measured(operations: dict[str, Callable[[Way], object]], ways: dict[str, Way], rounds: int) -> int:
    good = True
    sys.stdout.write(f"{'operation':<14} {'direct ms':>10} {'gate ms':>10} {'ratio':>6} {'target':>7}\n")
    for name, operation in operations.items():
        spent: dict[str, list[float]] = {"direct": [], "gate": []}
        for turn in range(rounds + 1):
            for way in ("direct", "gate") if turn % 2 else ("gate", "direct"):
                started = time.perf_counter()
                operation(ways[way])
                if turn:
                    spent[way].append((time.perf_counter() - started) * 1000)
        ratio = statistics.median(direct / gate for direct, gate in zip(spent["direct"], spent["gate"], strict=True))
        medians = {way: statistics.median(values) for way, values in spent.items()}
        mark = "" if ratio >= TARGETS[name] else "  below target"
        good = good and not mark
        sys.stdout.write(f"{name:<14} {medians['direct']:>10.1f} {medians['gate']:>10.1f} {ratio:>6.2f} {TARGETS[name]:>7}{mark}\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
