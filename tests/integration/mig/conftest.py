# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A simulated host for every test."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mig_simulator import Simulator, start


@pytest.fixture
def sim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """Simulated GPUs; say which with ``write``."""
    return start(tmp_path, monkeypatch.setenv)


@pytest.fixture
def living() -> Iterator[Callable[[], int]]:
    """Call it for the pid of a process that lives until the end of the test."""
    started: list[subprocess.Popen[bytes]] = []

    def spawn() -> int:
        started.append(subprocess.Popen(["sleep", "infinity"]))
        name = Path(f"/proc/{started[-1].pid}/comm")
        deadline = time.monotonic() + 10
        while name.read_text().strip() != "sleep":  # exec reports its success a little before the name changes
            assert time.monotonic() < deadline
        return started[-1].pid

    yield spawn
    for process in started:
        process.kill()
        process.wait()
