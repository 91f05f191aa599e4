# SPDX-License-Identifier: MIT
"""Running a host command and saying clearly when it failed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from .failure import LabError


def say(message: str) -> None:
    """One line of progress, on standard error, so that standard output stays the command's."""
    sys.stderr.write(f"lab: {message}\n")
    sys.stderr.flush()


def run(argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float | None = None, stdin: str | None = None) -> str:
    """Runs a command and returns its standard output; LabError with the end of its output when it fails."""
    started = time.monotonic()
    try:
        done = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=timeout, input=stdin, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]}: not installed on this machine; `lab build` installs what the lab needs") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{argv[0]}: no result within {timeout:.0f} s") from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise LabError(f"{' '.join(argv[:6])} …: exit {done.returncode} after {time.monotonic() - started:.0f} s\n{tail}")
    return done.stdout
