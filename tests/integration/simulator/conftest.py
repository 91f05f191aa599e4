# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""pynvml in this process, talking to GPUs of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pynvml
import pytest

from tests.simulated_gpu import SimulatedGpus, simulated_gpus

MakeGpus = Callable[[list[str]], SimulatedGpus]


@contextmanager
def _session() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


@pytest.fixture
def make_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeGpus]:
    """``make_gpus(["h100-80gb"])``: simulated GPUs, and pynvml initialised on them."""
    with ExitStack() as stack:

        def make(models: list[str]) -> SimulatedGpus:
            gpus = simulated_gpus(tmp_path, models)
            gpus.use_here(monkeypatch)
            stack.enter_context(_session())
            return gpus

        yield make
