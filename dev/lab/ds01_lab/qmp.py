# SPDX-License-Identifier: MIT
"""QEMU's control socket (QMP): JSON lines over a unix socket."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from .failure import LabError


class Qmp:
    """One connection; a context manager. Commands raise LabError with QEMU's own words."""

    def __init__(self, path: Path, timeout: float = 30.0) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)

    def __enter__(self) -> Qmp:
        try:
            self._socket.connect(str(self._path))
        except OSError as error:
            raise LabError(f"{self._path}: QEMU does not answer ({error})") from error
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._lines.readline()  # the greeting
        self.command("qmp_capabilities")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def command(self, name: str, **arguments: Any) -> Any:
        """Runs a command and returns its result; events in between are skipped."""
        self._socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        while True:
            try:
                line = self._lines.readline()
            except TimeoutError as error:
                raise LabError(f"QEMU gave no answer to {name}") from error
            if not line:
                if name == "quit":
                    return None
                raise LabError(f"QEMU closed its control socket during {name}")
            answer = json.loads(line)
            if "error" in answer:
                raise LabError(f"QEMU refused {name}: {answer['error'].get('desc')}")
            if "return" in answer:
                return answer["return"]

    def wait_migration(self, limit_s: float) -> None:
        """Waits until the memory has been written or read; LabError when it failed or took longer than limit_s."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            state = self.command("query-migrate").get("status", "none")
            if state == "completed":
                return
            if state in ("failed", "cancelled"):
                raise LabError(f"QEMU: saving or loading the memory {state}")
            time.sleep(0.1)
        raise LabError(f"QEMU: saving or loading the memory was not done within {limit_s:.0f} s")
