# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What one allocation costs with 56 MIG instances and 100 claims, against what the predecessor's docker calls alone cost.

The predecessor asked Docker 8N+4 times for one allocation on N containers, a process each (measured on it: 804 calls at 100). Its side
is therefore 8N+4 times the cheapest process there is, ``/bin/true``; the docker CLI costs more. Both sides alternate in one run.

    python tests/bench/bench_allocation.py [--rounds 200] [--containers 100] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / ".cache" / "lib")]

import tests.conftest  # noqa: E402, F401
from ds01.allocator import AllocationPaths, Allocator  # noqa: E402
from ds01.claim_store import ClaimStore  # noqa: E402
from ds01.core.cdi_spec import spec_for, with_claim  # noqa: E402
from ds01.core.claim import ClaimedDevice  # noqa: E402
from ds01.core.gpu_request import GpuRequest  # noqa: E402
from ds01.slice_control import NoSlices  # noqa: E402
from tests.allocation_examples import SEVEN, base_spec, claim, inventory, limits, mig_gpu, publish  # noqa: E402

STOCK = inventory(*(mig_gpu(i, SEVEN) for i in range(8)))
BUDGET_MS = 10.0


def prepare(directory: Path, containers: int) -> AllocationPaths:
    """56 instances, ``containers`` claims: 55 hold an instance, the others hold none of these (claims on a layout of before)."""
    publish(directory, STOCK)
    paths = AllocationPaths(
        directory / "cdi", directory / "lock", directory / "devices.json", directory / "cdi-base.json", directory / "none"
    )
    store, base = ClaimStore(paths.claims, paths.lock), base_spec(STOCK)
    instances = [(gpu, item) for gpu in STOCK.gpus for item in gpu.instances]
    for number in range(containers):
        gpu, item = instances[number % 55]
        device = ClaimedDevice(
            item.key, gpu.uuid, gpu.minor, gpu.equivalents(item), item.memory_mib, item.profile, item.gi_id, item.ci_id, item.mig_uuid
        )
        made = claim(number, (device,), uid=3000 + number)
        spec = spec_for(made, base)
        if number >= 55:
            spec = with_claim(spec, replace(made, devices=(replace(device, key=f"gone/{number}", gpu_uuid=f"gone-{number}"),)))
        store.write(made.id, spec)
    return paths


def milliseconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - start) / 1e6


def measure(rounds: int, containers: int, sample_calls: int = 20) -> dict[str, float]:
    """Medians and the 99th percentile in ms; ``ratio`` is the predecessor's cost over ours."""
    who, request, claim_id = limits(equivalents=Fraction(8)), GpuRequest(everything=True), "cffffffffffff"
    warm, cold, process = [], [], []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        paths = prepare(Path(name), containers)
        allocator = Allocator(paths, NoSlices())
        for _ in range(rounds):
            warm.append(milliseconds(lambda: allocator.grant(claim_id, who, 1000, request, "f" * 64, "bench")))
            allocator.release(claim_id, 0)
            fresh = Allocator(paths, NoSlices())
            cold.append(milliseconds(lambda fresh=fresh: fresh.grant(claim_id, who, 1000, request, "f" * 64, "bench")))  # type: ignore[misc]
            allocator.release(claim_id, 0)
            if len(process) < sample_calls:
                process.append(milliseconds(lambda: subprocess.run(["/bin/true"], check=True)))
    before = (8 * containers + 4) * statistics.median(process)
    return {
        "grant_ms": statistics.median(warm),
        "grant_p99_ms": sorted(warm)[int(len(warm) * 0.99) - 1],
        "first_grant_of_a_process_ms": statistics.median(cold),
        "predecessor_process_starts_ms": before,
        "ratio": before / statistics.median(warm),
    }


def main() -> int:
    """Print the figures; 1 when the budget is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--containers", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.rounds, options.containers)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        for key, value in figures.items():
            print(f"{key:32} {value:12.2f}")
    return 0 if figures["grant_ms"] <= BUDGET_MS and figures["first_grant_of_a_process_ms"] <= 2 * BUDGET_MS else 1


if __name__ == "__main__":
    sys.exit(main())
