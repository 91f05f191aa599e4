# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The state file on disk: read it, or change it under the lock that the library takes too."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .state_text import State, StateError, parse, render

DEFAULT_PATH = Path("/run/ds01-gpusim/state")


def default_path() -> Path:
    """``$DS01SIM_STATE``, or the place on a simulated server."""
    return Path(os.environ.get("DS01SIM_STATE") or DEFAULT_PATH)


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def boot_time_ms() -> int:
    """Milliseconds since boot, suspend included: the clock of the energy counters."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def read(path: Path) -> State:
    """The state as it is. Raises StateError where there is none."""
    try:
        return parse(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        raise StateError(f"{path}: no simulated GPUs here; make some with 'ds01-gpusim init --model a100-40gb'") from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    fd = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _write(path: Path, state: State) -> None:
    new = Path(f"{path}.new")
    new.write_text(render(state), encoding="ascii")
    new.chmod(0o644)
    new.rename(path)


@contextmanager
def changing(path: Path) -> Iterator[State]:
    """The state under the lock; written when the block ends without an error."""
    with _locked(path):
        state = read(path)
        yield state
        _write(path, state)


def create(path: Path, state: State) -> None:
    """Put a whole new state into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        _write(path, state)
