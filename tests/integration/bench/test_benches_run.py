# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The benchmarks of the gate and the guard with the least they can do: each operation still works and gets its line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bench import bench_gate, bench_guard, bench_streams

BENCHES = Path(__file__).resolve().parent.parent.parent / "bench"
_ABOVE_TARGET = 1


def lines_of(bench: str, *options: str) -> list[str]:
    done = subprocess.run([sys.executable, str(BENCHES / bench), *options], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, _ABOVE_TARGET), done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bench_gate() -> None:
    lines = lines_of("bench_gate.py", "--rounds", "1", "--containers", "0")
    rows = [line[12:23].strip() for line in lines[1 : 1 + len(bench_gate.OPERATIONS)]]
    assert rows == list(bench_gate.OPERATIONS)
    (gpus,) = [line.split() for line in lines if line[12:23].strip() == "run --gpus"]
    assert float(gpus[8]) > 0, "the wrapper's docker calls were counted"


def test_bench_guard() -> None:
    rows = [line.split() for line in lines_of("bench_guard.py", "--rounds", "1")[1:]]
    assert [row[0] for row in rows] == list(bench_guard.OPERATIONS)
    assert all(float(row[2]) > 0 for row in rows)


def test_bench_streams() -> None:
    lines = lines_of("bench_streams.py", "--rounds", "1", "--megabytes", "1")
    assert [line[:14].strip() for line in lines[1:]] == list(bench_streams.TARGETS)
