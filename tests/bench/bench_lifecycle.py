# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a sweep of 100 containers costs in CPU and in calls to dockerd, and what a login costs for its greeting.

Both beside a bare start of the same Python, because seconds would say how busy the machine is. Sweeps and starts alternate in one run.

    python tests/bench/bench_lifecycle.py [--rounds 20] [--containers 100] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / ".cache" / "lib")]

import tests.conftest  # noqa: E402, F401
from tests.unit.lifecycle.lifecycle_world import world  # noqa: E402

BUDGET_S = 2.0
_START = "import sys; sys.path[:0]={paths!r}; sys.argv=['ds01','greeting']; from ds01_cli.__main__ import main; main()"


def children() -> float:
    """CPU seconds of the programs that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def started(code: str, home: str) -> float:
    """CPU seconds of a Python that runs ``code`` on a terminal."""
    master, slave = pty.openpty()
    before = children()
    environment = {"PATH": "/usr/bin", "HOME": home, "DS01_GATE_SOCKET": f"{home}/none.sock", "TERM": "dumb"}
    subprocess.run([sys.executable, "-I", "-S", "-c", code], stdin=slave, stdout=slave, stderr=slave, env=environment, check=True)
    os.close(slave)
    os.close(master)
    return children() - before


def cpu(action: Callable[[], object]) -> float:
    """CPU seconds of this process for ``action``."""
    before = time.process_time()
    action()
    return time.process_time() - before


def measure(rounds: int, containers: int) -> dict[str, float]:
    """Medians; milliseconds of CPU."""
    paths = [str(ROOT / ".cache" / "lib"), str(ROOT / "files")]
    sweeps, bare, greetings, first = [], [], [], []
    with tempfile.TemporaryDirectory() as directory, world(Path(directory)) as host:
        for number in range(containers):
            host.container(number)
        host.sweep()
        host.dockerd.calls.clear()
        for _ in range(rounds):
            host.uptime += 60
            host.now += 60
            host.inventory()
            sweeps.append(cpu(host.sweep))
            bare.append(started("import argparse, json", directory))
            greetings.append(started(_START.format(paths=paths), directory))
            first.append(started(f"import sys; sys.path[:0]={paths!r}; import ds01_lifecycle.__main__", directory))
        calls = len([call for call in host.dockerd.calls if call.startswith("GET")]) / rounds
    return {
        "containers": containers,
        "sweep_ms": 1000 * statistics.median(sweeps),
        "sweep_imports_ms": 1000 * statistics.median(first),
        "docker_calls_a_sweep": calls,
        "bare_python_ms": 1000 * statistics.median(bare),
        "greeting_ms": 1000 * statistics.median(greetings),
        "greeting_ratio": statistics.median(greetings) / statistics.median(bare),
    }


def main() -> int:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--containers", type=int, default=100)
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    found = measure(given.rounds, given.containers)
    if given.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        for name, value in found.items():
            sys.stdout.write(f"{name:24} {value:10.2f}\n")
    return 0


def test_a_hundred_containers_are_swept_within_their_budget() -> None:
    """For ``make bench``."""
    found = measure(5, 100)
    assert found["docker_calls_a_sweep"] == 1.0
    assert found["sweep_ms"] + found["sweep_imports_ms"] < 1000 * BUDGET_S, found
    assert found["greeting_ratio"] < 8, found


if __name__ == "__main__":
    sys.exit(main())
