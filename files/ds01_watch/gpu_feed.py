# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Keeps the NVML worker running and its last word at hand, with its age.

A worker that says nothing for ``SILENCE_ROUNDS`` rounds is killed and another one started; one that a hung driver keeps from dying is left
behind, and no further one is started until it is gone.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

SILENCE_ROUNDS = 4
DEVICES = "/run/ds01/devices.json"
_LONGEST_WAIT_S = 60.0


class GpuFeed:
    """``changed`` is called (from the feed's thread) after every word of the worker. ``patience``: seconds beyond the rounds of silence."""

    def __init__(
        self, interval: float, changed: Callable[[], None], command: list[str] | None = None, devices: str = DEVICES, patience: float = 10.0
    ) -> None:
        self.interval = interval
        self._changed = changed
        program = os.path.join(os.path.dirname(__file__), "start_gpu_worker.py")
        self._command = command or [sys.executable, "-I", program, str(interval), devices]
        self._lock = threading.Lock()
        self._last: dict[str, Any] | None = None
        self._last_at: float | None = None
        self._error: str | None = "NVML has not answered yet"
        self._patience = patience
        self._stuck: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the feed's thread."""
        threading.Thread(target=self._run, name="gpu-feed", daemon=True).start()

    def latest(self) -> tuple[dict[str, Any] | None, float | None, str | None]:
        """The last look, its age in seconds, and what is wrong (None: nothing)."""
        with self._lock:
            age = None if self._last_at is None else time.monotonic() - self._last_at
            return self._last, age, self._error

    @property
    def stuck(self) -> int:
        """How many workers a driver keeps from dying."""
        return len(self._stuck)

    def _run(self) -> None:
        wait = self.interval
        pause = threading.Event()
        while True:
            self._stuck = [process for process in self._stuck if process.poll() is None]
            if not self._stuck:
                heard = False
                try:
                    heard = self._follow()
                except Exception as error:  # whatever it is: a feed that ends in silence would show yesterday's GPUs for ever
                    self._fail(f"{type(error).__name__}: {error}")
                wait = self.interval if heard else min(wait * 2, _LONGEST_WAIT_S)
            pause.wait(wait)

    def _follow(self) -> bool:
        """Run one worker until it ends or falls silent; whether it said anything useful."""
        heard = False
        process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        stream = process.stdout
        if stream is None:
            return False
        os.set_blocking(stream.fileno(), False)
        buffer = b""
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(stream, selectors.EVENT_READ)
                while selector.select(self.interval * SILENCE_ROUNDS + self._patience):
                    piece = stream.read()
                    if not piece:
                        break
                    *lines, buffer = (buffer + piece).split(b"\n")
                    for line in lines:
                        heard = self._take(json.loads(line)) or heard
                else:
                    self._fail(f"NVML has not answered for {self.interval * SILENCE_ROUNDS + self._patience:.0f} s")
        finally:
            self._end(process)
        return heard

    def _take(self, document: dict[str, Any]) -> bool:
        if "error" in document:
            self._fail(str(document["error"]))
            return False
        with self._lock:
            self._last, self._last_at = document, time.monotonic()
            self._error = None  # what a single GPU does not tell stands in the document, under "failed"
        self._changed()
        return True

    def _fail(self, why: str) -> None:
        with self._lock:
            self._error = why
        self._changed()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is not None:
            process.stdout.close()
        process.send_signal(signal.SIGKILL)
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            self._stuck.append(process)
