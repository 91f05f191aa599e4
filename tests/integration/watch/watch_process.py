# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""ds01-watch as a process beside a dockerd: laid out as a release lays it out, among the daemon's processes, with simulated GPUs.

It runs in the daemon's pid and network namespaces, as on a server, but with the root file system of the tests, where its Python is.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.daemons import REPOSITORY, Daemon, die_with_parent, wait_until
from tests.simulated_gpu import SimulatedGpus

BUNDLES = "/proc/1/root/run/docker-exec/containerd/daemon/io.containerd.runtime.v2.task/moby"
"""Where the containerd that the daemon started keeps its bundles: in the root file system of the first process of its pid namespace."""
LISTEN = "127.0.0.1:9101"
"""In the daemon's own network namespace, where no port is taken."""
_READ_METRICS = (
    f"import sys, urllib.request; sys.stdout.write(urllib.request.urlopen('http://{LISTEN}/metrics', timeout=10).read().decode('utf-8'))"
)


class WatchProcess:
    """One watcher and the files that it writes."""

    def __init__(self, directory: Path, daemon: Daemon, gpus: SimulatedGpus, **options: Path) -> None:
        """``options``: of its command line, where they are not in ``directory`` (``claims_lock``)."""
        self.daemon = daemon
        self._options = {name.replace("_", "-"): path for name, path in options.items()}
        self._directory = directory
        self._gpus = gpus
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0

    @property
    def log(self) -> Path:
        """What the watcher said."""
        return self._directory / "watch.log"

    def open(self) -> WatchProcess:
        """Lay it out and start it."""
        lib = self._directory / "lib"
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "plugins" / "module_utils", lib / "ds01", ignore=ignore)
        shutil.copytree(REPOSITORY / "files" / "ds01_watch", lib / "ds01_watch", ignore=ignore)
        subprocess.run(self._beside("ip", "link", "set", "lo", "up"), check=True)
        self.start()
        return self

    def start(self) -> None:
        """Start it and wait until it has heard of both dockerd and NVML."""
        options = {
            "docker": self.daemon.socket,
            "bundles": BUNDLES,
            "claims": self.daemon.cdi_dir,
            "claims-lock": self._directory / "claims.lock",
            "inventory": self._directory / "inventory.json",
            "events": self._directory / "events.jsonl",
            "memory": self._directory / "watch.json",
            "devices": self._directory / "devices.json",
            "reservations": self._directory / "reservations.json",
            "grants": self._directory / "bare-metal.d",
            "policy": self._directory / "policy.json",
            "queue": self._directory / "queue.json",
            "gate": self._directory / "gate-measures.json",
            "gpu-interval": "0.5",
            "listen": LISTEN,
            **self._options,
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(self._directory / "lib"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._began = time.time()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._beside(sys.executable, "-m", "ds01_watch", *words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment, **self._gpus.env},
                preexec_fn=die_with_parent,
            )
        wait_until(self._hears, 30, f"word of dockerd and NVML (log: {self.log})")

    def _beside(self, *command: str) -> list[str]:
        """The command line that runs ``command`` in the daemon's pid and network namespaces."""
        script = 'mount -t proc proc /proc && exec "$@"'
        enter = ["nsenter", "-t", str(self.daemon.first_pid()), "--pid", "--net", "--"]
        return [*enter, "unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *command]

    def _hears(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"the watcher ended: {self.log.read_text()[-2000:]}")
        if not (self._directory / "inventory.json").exists() or self.inventory()["time"] < self._began:
            return False
        return all(self.source_answers(name) for name in ("docker", "gpu"))

    def inventory(self) -> dict[str, Any]:
        """What it published last."""
        found: dict[str, Any] = json.loads((self._directory / "inventory.json").read_text())
        return found

    def source_answers(self, name: str) -> bool:
        """Whether dockerd (``docker``) or NVML (``gpu``) answers, by the inventory."""
        return bool(self.inventory()["sources"][name]["ok"])

    def workload(self, name: str) -> dict[str, Any] | None:
        """The workload of that name, None when the inventory has none."""
        return next((one for one in self.inventory()["workloads"] if one["name"] == name), None)

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The events that it logged, of one kind or all."""
        path = self._directory / "events.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if kind is None or line["kind"] == kind]

    def metrics(self) -> str:
        """One scrape."""
        return subprocess.run(self._beside(sys.executable, "-c", _READ_METRICS), stdout=subprocess.PIPE, text=True, check=True).stdout

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def close(self) -> int:
        """SIGTERM; the exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        for pid in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), number)
        status = self._process.wait(20)
        self._process = None
        return status


@contextlib.contextmanager
def watch_beside(directory: Path, daemon: Daemon, gpus: SimulatedGpus, **options: Path) -> Iterator[WatchProcess]:
    """A watcher for as long as the block runs."""
    process = WatchProcess(directory, daemon, gpus, **options)
    try:
        yield process.open()
    finally:
        process.close()
