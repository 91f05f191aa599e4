# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Stopping systemd units for a while: monitors that hold GPUs open keep MIG from being changed.

They are started again without waiting for them: the unit that restores MIG at boot comes before them, so that their start waits for it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

STOP_TIMEOUT_S = 150  # DCGM takes up to two minutes to let go in good order; killing it can hang a GPU


class PauseError(RuntimeError):
    """A unit didn't stop, or systemd refused to start it again; the message has systemctl's words."""


@contextmanager
def paused(units: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Stop those of the units that run, and start them again at the end, whatever happened. Yields which ones. Raises PauseError."""
    running = tuple(u for u in units if _systemctl("is-active", "--quiet", u).returncode == 0)
    try:
        for unit in running:
            _do("stop", unit)
        yield running
    finally:
        for unit in running:
            _do("--no-block", "start", unit)


def _do(*arguments: str) -> None:
    done = _systemctl(*arguments)
    if done.returncode != 0:
        raise PauseError(f"systemctl {' '.join(arguments)}: exit status {done.returncode}: {done.stderr.strip()}")


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False, timeout=STOP_TIMEOUT_S)
    except FileNotFoundError as error:
        raise PauseError("systemctl: not installed, but pause_units names units") from error
    except subprocess.TimeoutExpired as error:
        raise PauseError(f"systemctl {' '.join(arguments)}: not done within {STOP_TIMEOUT_S} s") from error
