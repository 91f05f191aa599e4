# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What gate and guard cost: the same request to dockerd's own socket and through the gate, in turns, as medians of the ratios of pairs.

    python tests/bench/bench_gate.py [--release sid] [--rounds 20] [--containers 0 10 100] [--only run guard] [--json FILE]

``ps`` is the CLI's, as a person types it. The others are raw API calls, so that the start of a client does not hide the difference:
``list`` is the request of ``ps`` alone (no target: dockerd answers it in a fraction of a millisecond), ``create`` makes a container
(removed outside the clock), ``run`` is create, start and wait, ``run --gpus`` is that with one claim, against a CDI device that is there
already. The daemon is asked for what the gate makes of the request (limits, slice, log settings): it is the gate that is measured here, not
what a nested control group costs dockerd. Through the gate the runtime guard is the runtime, as on a server; directly it is plain runc.
``guard`` is the guard alone: a run with it against one without it, both on dockerd's own socket; ``exec`` the same for an exec.

The cost of a wrapper around the CLI is modelled beside it: the predecessor started 8N+4 ``docker`` processes one after the other for one
allocation with N containers there. So many are started here, against dockerd's own socket, for N up to ten.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / ".cache" / "lib"), str(ROOT / "files")]

from ds01.docker_upstream import DockerClient, Link  # noqa: E402
from tests.integration.daemons import Daemon  # noqa: E402
from tests.integration.gate.gate_process import GateProcess, gate_before  # noqa: E402
from tests.integration.gate.people import acting_as  # noqa: E402
from tests.integration.guarded import RUNTIME, guarded  # noqa: E402
from tests.integration.lab import Lab, Person, lab  # noqa: E402

TARGETS = {"ps": 1.1, "create": 1.15, "run": 1.1, "run --gpus": 1.25}
OPERATIONS = ("ps", "list", "create", "run", "run --gpus", "guard", "exec")
MOST_MODELLED = 10
Table = dict[str, dict[str, float]]
FILLERS_OF = ("alice", "bob")
Call = Callable[[str, str, Any], Any]


class Caller:
    """JSON calls over one kept connection, as a Docker client makes them."""

    def __init__(self, path: str, person: Person | None) -> None:
        with acting_as(person):
            self._link = Link(path)

    def call(self, method: str, target: str, body: Any = None) -> Any:
        """The decoded answer; raises RuntimeError for an error."""
        payload = b"" if body is None else json.dumps(body).encode()
        kind = "Content-Type: application/json\r\n" if body is not None else ""
        self._link.send(f"{method} /v1.45{target} HTTP/1.1\r\nHost: d\r\n{kind}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
        response = self._link.response(method)
        data = b"".join(self._link.body(response))
        if response.status >= 400:
            raise RuntimeError(f"{method} {target}: {response.status} {data.decode(errors='replace')}")
        return json.loads(data) if data.strip() else None


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return (time.perf_counter() - started) * 1000, result


def _run(path: str, person: Person | None, body: dict[str, Any]) -> float:
    """Create, start, wait for the end; milliseconds until the end is known."""
    caller, waiter = Caller(path, person), Caller(path, person)
    results: list[str] = []

    def work() -> None:
        identity = caller.call("POST", "/containers/create", body)["Id"]
        results.append(identity)
        caller.call("POST", f"/containers/{identity}/start")
        waiter.call("POST", f"/containers/{identity}/wait")

    spent, _ = _timed(work)
    Caller(path, person).call("DELETE", f"/containers/{results[0]}?force=1")
    return spent


def _body(**host_config: Any) -> dict[str, Any]:
    return {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none", **host_config}}


class Bench:
    """One daemon with a gate before it, and alice."""

    def __init__(self, daemon: Daemon, gate: GateProcess, people: dict[str, Person]) -> None:
        self._paths = {"direct": (str(daemon.socket), None), "gate": (str(gate.socket), people["alice"])}
        self._people = people
        self._gate = gate
        self._root = DockerClient(str(daemon.socket))
        plain, with_gpu = _body(), _body(DeviceRequests=[{"Count": 1, "Capabilities": [["gpu"]]}])
        present = [{"Driver": "cdi", "DeviceIDs": ["bench.test/gpu=0"]}]
        self._bodies = {
            "run": {"gate": plain, "direct": self._made_of(plain, Runtime="runc")},
            "run --gpus": {"gate": with_gpu, "direct": self._made_of(with_gpu, DeviceRequests=present, Runtime="runc")},
        }
        self._direct = (str(daemon.socket), None)
        self._running = {way: self._started(runtime) for way, runtime in (("gate", RUNTIME), ("direct", "runc"))}

    def _made_of(self, body: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """What the gate makes of a request."""
        identity = Caller(*self._paths["gate"]).call("POST", "/containers/create", body)["Id"]
        made = self._root.call("GET", f"/containers/{identity}/json")
        self._root.call("DELETE", f"/containers/{identity}")
        return {**body, "Labels": made["Config"]["Labels"], "HostConfig": {**made["HostConfig"], **changes}}

    def _started(self, runtime: str) -> str:
        """A container that runs under that runtime."""
        body = {**self._bodies["run"]["direct"], "Cmd": ["sleep", "3600"]}
        host = {**body["HostConfig"], "Runtime": runtime}
        identity = str(self._root.call("POST", "/containers/create", {**body, "HostConfig": host})["Id"])
        self._root.call("POST", f"/containers/{identity}/start")
        return identity

    def fill(self, count: int) -> None:
        """Have ``count`` running containers, of two people in turns."""
        have = len(self._root.call("GET", "/containers/json"))
        for n in range(have, count):
            person = self._people[FILLERS_OF[n % 2]]
            caller = Caller(str(self._gate.socket), person)
            made = caller.call("POST", "/containers/create", {**_body(), "Cmd": ["sleep", "3600"]})
            caller.call("POST", f"/containers/{made['Id']}/start")

    def measure(self, rounds: int, only: Collection[str]) -> Table:
        """Operation → medians in ms of both ways, and their ratio."""
        operations: dict[str, Callable[[str], float]] = {
            "ps": self._ps,
            "list": self._list,
            "create": self._create,
            "run": lambda way: _run(*self._paths[way], self._bodies["run"][way]),
            "run --gpus": lambda way: _run(*self._paths[way], self._bodies["run --gpus"][way]),
            "guard": self._guard,
            "exec": self._exec,
        }
        table = {}
        for name, operation in operations.items():
            if name not in only:
                continue
            repeats = rounds if name.startswith("run") or name in ("guard", "exec") else rounds * 5
            spent: dict[str, list[float]] = {"direct": [], "gate": []}
            warming = min(2, repeats)
            for turn in range(repeats + warming):
                for way in ("direct", "gate") if turn % 2 else ("gate", "direct"):
                    value = operation(way)
                    if turn >= warming:
                        spent[way].append(value)
            pairs = list(zip(spent["gate"], spent["direct"], strict=True))
            table[name] = {
                **{way: statistics.median(values) for way, values in spent.items()},
                "ratio": statistics.median(gate / direct for gate, direct in pairs),
                "added": statistics.median(gate - direct for gate, direct in pairs),
            }
        return table

    def wrapper(self, containers: int) -> float:
        """Milliseconds for the docker calls that a wrapper makes for one allocation with so many containers there."""
        command = self._gate.lab.docker(Path(self._direct[0]), None, "ps", "-q")
        environment = self._gate.lab.environment(None)

        def work() -> None:
            for _ in range(8 * containers + 4):
                subprocess.run(command, env=environment, cwd="/", stdout=subprocess.DEVNULL, check=True)

        return _timed(work)[0]

    def _guard(self, way: str) -> float:
        body = self._bodies["run"]["direct"]
        runtime = RUNTIME if way == "gate" else "runc"
        return _run(*self._direct, {**body, "HostConfig": {**body["HostConfig"], "Runtime": runtime}})

    def _exec(self, way: str) -> float:
        caller = Caller(*self._direct)

        def work() -> None:
            made = caller.call("POST", f"/containers/{self._running[way]}/exec", {"Cmd": ["true"]})["Id"]
            caller.call("POST", f"/exec/{made}/start", {"Detach": True})

        return _timed(work)[0]

    def _ps(self, way: str) -> float:
        path, person = self._paths[way]
        command = self._gate.lab.docker(Path(path), person, "ps", "--filter", "label=ds01.user=alice")
        if person is None:  # a person's client is started by setpriv: that is the same for both then
            command = ["setpriv", "--reuid", "0", "--regid", "0", "--clear-groups", "--", *command]
        environment = self._gate.lab.environment(person)
        return _timed(lambda: subprocess.run(command, env=environment, cwd="/", stdout=subprocess.DEVNULL, check=True))[0]

    def _list(self, way: str) -> float:
        path, person = self._paths[way]
        caller = Caller(path, person)
        filters = "%7B%22label%22%3A%5B%22ds01.user%3Dalice%22%5D%7D"
        caller.call("GET", f"/containers/json?filters={filters}")
        return _timed(lambda: caller.call("GET", f"/containers/json?filters={filters}"))[0]

    def _create(self, way: str) -> float:
        path, person = self._paths[way]
        caller = Caller(path, person)
        spent, made = _timed(lambda: caller.call("POST", "/containers/create", self._bodies["run"][way]))
        caller.call("DELETE", f"/containers/{made['Id']}")
        return spent


def _bench(release: str, rounds: int, sizes: list[int], only: Collection[str]) -> dict[int, Table]:
    with lab() as place:
        return _in_lab(place, release, rounds, sizes, only)


def _in_lab(place: Lab, release: str, rounds: int, sizes: list[int], only: Collection[str]) -> dict[int, Table]:
    people = {name: place.add_person(name, uid, "docker") for name, uid in (("alice", 5001), ("bob", 5002))}
    with guarded(release, place, place.path / "bench") as daemon:
        node = {"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0}
        spec = {"cdiVersion": "0.6.0", "kind": "bench.test/gpu", "devices": [{"name": "0", "containerEdits": {"deviceNodes": [node]}}]}
        (daemon.cdi_dir / "bench.json").write_text(json.dumps(spec))
        with gate_before(place, daemon, "bench", reconcile_seconds=3600) as gate:
            bench = Bench(daemon, gate, people)
            results = {}
            for size in sizes:
                bench.fill(size)
                results[size] = bench.measure(rounds, only)
                if size <= MOST_MODELLED and "run --gpus" in only:
                    results[size]["run --gpus"]["wrapper"] = bench.wrapper(size)
            return results


def _print(results: dict[int, Table]) -> bool:
    good = True
    heads = f"{'containers':>10}  {'operation':<11} {'direct ms':>10} {'gate ms':>10} {'added ms':>9} {'ratio':>7} {'target':>7}"
    heads += f" {'wrapper ms':>11}"
    sys.stdout.write(heads + "\n")
    for size, table in results.items():
        for name, row in table.items():
            target = TARGETS.get(name)
            met = target is None or row["ratio"] <= target
            good = good and met
            mark = "" if met else "  above target"
            modelled = f"{row['wrapper']:.0f}" if "wrapper" in row else ""
            numbers = f"{row['direct']:>10.2f} {row['gate']:>10.2f} {row['added']:>9.2f} {row['ratio']:>7.2f}"
            sys.stdout.write(f"{size:>10}  {name:<11} {numbers} {target or '':>7} {modelled:>11}{mark}\n")
    sizes = sorted(results)
    for name in next(iter(results.values())):
        first, last = (results[size][name]["added"] for size in (sizes[0], sizes[-1]))
        sys.stdout.write(f"{name:<11} the gate adds {first:.2f} ms with {sizes[0]} containers, {last:.2f} ms with {sizes[-1]}\n")
    return good


def main() -> int:
    """Measure, print, write; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description="What the gate costs, as ratios against dockerd's own socket.")
    parser.add_argument("--release", default="sid", choices=("trixie", "sid"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--containers", type=int, nargs="+", default=[0, 10, 100])
    parser.add_argument("--only", nargs="+", choices=OPERATIONS, default=OPERATIONS, help="these operations alone")
    parser.add_argument("--json", type=Path, help="write the results there too")
    options = parser.parse_args()
    results = _bench(options.release, options.rounds, sorted(options.containers), options.only)
    if options.json:
        options.json.write_text(json.dumps({"release": options.release, "targets": TARGETS, "results": results}, indent=1))
    return 0 if _print(results) else 1


if __name__ == "__main__":
    sys.exit(main())
