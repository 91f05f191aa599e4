# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""How long after its start a container around the gate is in the inventory: real containers, a real dockerd, the watcher as installed.

pytest -s tests/bench/bench_watch_detection.py        (DS01_BENCH_STARTS: how many, 100 if not given)
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from ds01.container_reader import epoch
from tests.integration.daemons import running, wait_until
from tests.integration.lab import Lab
from tests.integration.lab import lab as laboratory
from tests.integration.watch.watch_process import WatchProcess, watch_beside
from tests.simulated_gpu import simulated_gpus

STARTS = int(os.environ.get("DS01_BENCH_STARTS", "100"))
GOAL_S = 2.0


def _latency(lab: Lab, socket: Path, watch: WatchProcess, name: str) -> float:
    started = lab.run(socket, None, "run", "-d", "--name", name, "--network", "none", "--privileged", "busybox", "sleep", "600")
    assert started.returncode == 0, started.stderr
    wait_until(lambda: watch.workload(name) is not None, 30, f"{name} in the inventory")
    published = watch.inventory()["time"]
    at = epoch(lab.run(socket, None, "inspect", "-f", "{{.State.StartedAt}}", name).stdout.strip())
    lab.run(socket, None, "rm", "-f", name)
    return float(published - at)


def test_detection() -> None:
    with laboratory() as lab:
        directory = lab.path / "watch"
        (directory / "cdi").mkdir(parents=True)
        gpus = simulated_gpus(directory, ["a100-40gb"])
        with running("trixie", directory, directory / "cdi") as daemon, watch_beside(directory, daemon, gpus) as watch:
            daemon.import_image("busybox:latest", lab.image)
            begun = time.monotonic()
            taken = sorted(_latency(lab, daemon.socket, watch, f"c{number}") for number in range(STARTS))
            spent = time.monotonic() - begun
    quantiles = ", ".join(f"{share} % {taken[min(int(len(taken) * share / 100), len(taken) - 1)] * 1e3:.0f} ms" for share in (50, 90, 99))
    print(f"\n{STARTS} starts in {spent:.0f} s: detected after {quantiles}, worst {taken[-1] * 1e3:.0f} ms (goal 2 s)")
    assert statistics.median(taken) < GOAL_S
