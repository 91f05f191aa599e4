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

    def __init__(self, directory: Path, daemon: Daemon, gpus: SimulatedGpus) -> None:
        self.daemon = daemon
        self._directory = directory
        self._gpus = gpus
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What the watcher said."""
        return self._directory / "watch.log"

    def open(self) -> WatchProcess:
        """Start it and wait until it has heard of both dockerd and NVML."""
        lib = self._directory / "lib"
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "plugins" / "module_utils", lib / "ds01", ignore=ignore)
        shutil.copytree(REPOSITORY / "files" / "ds01_watch", lib / "ds01_watch", ignore=ignore)
        subprocess.run(self._beside("ip", "link", "set", "lo", "up"), check=True)
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
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(lib), "PYTHONDONTWRITEBYTECODE": "1"}
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
        return self

    def _beside(self, *command: str) -> list[str]:
        """The command line that runs ``command`` in the daemon's pid and network namespaces."""
        script = 'mount -t proc proc /proc && exec "$@"'
        enter = ["nsenter", "-t", str(self.daemon.first_pid()), "--pid", "--net", "--"]
        return [*enter, "unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *command]

    def _hears(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"the watcher ended: {self.log.read_text()[-2000:]}")
        return (self._directory / "inventory.json").exists() and all(self.source_answers(name) for name in ("docker", "gpu"))

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

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind that it logged."""
        path = self._directory / "events.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if line["kind"] == kind]

    def metrics(self) -> str:
        """One scrape."""
        return subprocess.run(self._beside(sys.executable, "-c", _READ_METRICS), stdout=subprocess.PIPE, text=True, check=True).stdout

    def close(self) -> int:
        """SIGTERM; the exit status."""
        if self._process is None:
            return 0
        for pid in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)
        return self._process.wait(20)


@contextlib.contextmanager
def watch_beside(directory: Path, daemon: Daemon, gpus: SimulatedGpus) -> Iterator[WatchProcess]:
    """A watcher for as long as the block runs."""
    process = WatchProcess(directory, daemon, gpus)
    try:
        yield process.open()
    finally:
        process.close()
