# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the gate's judgement costs: head, body, facts and rebuilding of a real create, against reading the same JSON once.

Each round does one of everything, so that a busy machine slows all of them alike. The figures are medians of CPU time,
and their ratio to ``json.loads``.

    python tests/bench/bench_gate_rules.py [--rounds 2000] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / ".cache" / "lib")]

import tests.conftest  # noqa: E402, F401
from ds01.core.gate import strict_json  # noqa: E402
from ds01.core.gate.facts import Facts  # noqa: E402
from ds01.core.gate.judge import admit, judge  # noqa: E402
from ds01.core.gate.request_head import parse_head  # noqa: E402
from ds01.core.gate.verdict import Answer, Need  # noqa: E402
from tests.unit.gate.gate_world import World  # noqa: E402

BUDGET_RATIO = 25.0
CLIENTS = json.loads((ROOT / "tests" / "unit" / "gate" / "client_requests.json").read_text())
CREATE = next(r for r in CLIENTS if "create" in r["target"] and "DeviceRequests" in r["body"] and "/home/alice" in r["body"])[
    "body"
].encode()
PADDED = json.dumps({**json.loads(CREATE), "Env": ["A" * 1000] * 1000}).encode()


def requests() -> dict[str, Callable[[], None]]:
    """What is measured, by name; ``json.loads`` is what the others are compared with."""
    world = World()

    def judged(method: str, target: str, body: bytes) -> None:
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        head = parse_head(f"{method} {target} HTTP/1.1\r\nHost: d\r\nUser-Agent: Docker-Client/28.2.2 (linux)\r\n{length}\r\n".encode())
        admitted = admit(world.identity, head, world.context)
        if isinstance(admitted, Answer):
            raise RuntimeError(admitted.body)
        facts = Facts()
        while isinstance(verdict := judge(world.identity, admitted, body, facts, world.limits, world.context), Need):
            facts = facts.told({question: world.answer(question) for question in verdict.questions})
        if isinstance(verdict, Answer):
            raise RuntimeError(verdict.body)

    return {
        "json.loads": lambda: json.loads(CREATE),
        "strict_json": lambda: strict_json.parse(CREATE),
        "ping": lambda: judged("GET", "/_ping", b""),
        "ps": lambda: judged("GET", "/v1.45/containers/json?all=1", b""),
        "create": lambda: judged("POST", "/v1.45/containers/create", CREATE),
        "create 1 MB": lambda: judged("POST", "/v1.45/containers/create", PADDED),
    }


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of CPU time by name, and the ratio to ``json.loads``; all kinds alternate."""
    todo = requests()
    taken: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(rounds):
        for name, run in todo.items():
            started = time.thread_time()
            run()
            taken[name].append((time.thread_time() - started) * 1000)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    return {name: {"ms": value, "ratio": value / medians["json.loads"]} for name, value in medians.items()}


def test_a_create_is_judged_within_its_budget() -> None:
    """A ratio, so that a busy machine does not matter: json.loads takes about 0.03 ms of a quiet one, and so the whole well under one."""
    assert measure(200)["create"]["ratio"] < BUDGET_RATIO


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = measure(options.rounds)
    if options.json:
        print(json.dumps(results))
        return
    for name, figures in results.items():
        print(f"{name:14} {figures['ms']:8.3f} ms  {figures['ratio']:7.1f} x json.loads")


if __name__ == "__main__":
    main()
