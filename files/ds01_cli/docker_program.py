# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The docker program, for what needs a terminal of its own (attach, exec, logs that follow): this process becomes it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import NoReturn

from .failure import Failure
from .gate_client import socket_path

PROGRAM = "docker"


def become(arguments: Sequence[str]) -> NoReturn:
    """Replace this process by ``docker ARGUMENTS`` at the gate's socket. Raises Failure where there is no such program."""
    path = shutil.which(PROGRAM)
    if path is None:
        raise Failure("the docker program is not installed on this server", "ask the administrator for the package docker-cli")
    sys.stdout.flush()
    os.execv(path, [PROGRAM, "--host", f"unix://{socket_path()}", *arguments])
