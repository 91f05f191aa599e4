# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The simulated library itself: where it is, and the one thing that this program leaves to it, what a reboot does."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from .state_file import boot_id, read
from .state_text import StateError

DEFAULT_PATH = Path("/opt/ds01-gpusim/lib/libnvidia-ml.so.1")


def library_path() -> Path:
    """``$DS01SIM_LIBRARY``, or the place on a simulated server."""
    return Path(os.environ.get("DS01SIM_LIBRARY") or DEFAULT_PATH)


def settle(state_path: Path, library: Path) -> None:
    """Write down what a reboot since the last change has done. Raises StateError."""
    try:
        code = ctypes.CDLL(str(library)).ds01sim_settle(os.fsencode(state_path))
    except (OSError, AttributeError) as error:
        raise StateError(f"{library}: not the library of the simulator: {error}") from None
    if code != 0:
        raise StateError(f"{state_path}: the library could not write it (NVML error {code})")


def settle_if_rebooted(state_path: Path, library: Path) -> bool:
    """Write down a reboot that has happened since the last change, before anything else is changed. Returns whether there was one."""
    if read(state_path).system.fields.get("boot") == boot_id():
        return False
    settle(state_path, library)
    return True
