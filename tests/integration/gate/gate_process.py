# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The gate and the splice program as processes in front of a real daemon, started the way systemd starts them: with a socket passed in."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ds01.core.devices_json import to_json
from ds01.core.slice_names import claim_slice
from tests.allocation_examples import inventory, whole_gpu
from tests.integration import left_cgroups
from tests.integration.daemons import Daemon, die_with_parent, wait_until
from tests.integration.lab import Lab

REPOSITORY = Path(__file__).resolve().parent.parent.parent.parent
PYTHON_PATH = f"{REPOSITORY / '.cache' / 'lib'}:{REPOSITORY / 'files'}"
GPUS = 8
GATE = (sys.executable, "-m", "ds01_gate")
# What systemd does: the socket as descriptor 3, and the process told its own pid.
_PASS_SOCKET = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); "
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); os.execv(sys.argv[2], sys.argv[2:])"
)


def publish_gpus(directory: Path, count: int) -> None:
    """Write the snapshot and the base spec of ``count`` GPUs. A container gets their nodes; opening one gives ENXIO: no driver."""
    stock = inventory(*(whole_gpu(index) for index in range(count)))
    nodes = {gpu.uuid: {"path": f"/dev/nvidia{gpu.minor}", "type": "c", "major": 195, "minor": gpu.minor} for gpu in stock.gpus}
    devices = [{"name": uuid, "containerEdits": {"deviceNodes": [node]}} for uuid, node in nodes.items()]
    (directory / "devices.json").write_text(json.dumps(to_json(stock)))
    (directory / "cdi-base.json").write_text(json.dumps({"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": devices}))


def policy(lab: Lab, **gate: Any) -> dict[str, Any]:
    """A policy for the lab: eight GPUs for everybody, two in a container, binds of the home; members of ``ds01-admin`` are admins."""
    return {
        "version": 1,
        "default_group": "people",
        "defaults": {
            "gpu": {"equivalents": 8, "devices_per_container": 2, "full_gpu": True},
            "container": {"cpus": 2, "memory": "1G", "pids": 256, "shm": "64M", "count": 200},
            "aggregate": {"memory_high": "15G", "memory_max": "16G"},
            "lifecycle": {"gpu_hold": "0s"},
        },
        "groups": {"people": None, "admins": {"admin": True, "linux_groups": ["ds01-admin"], "priority": 100}},
        "bind_roots": [{"path": f"{lab.homes}/{{user}}", "mode": "rw"}],
        "gate": {"creates_per_minute": 10000, **gate},
    }


class GateProcess:
    """One gate with its own directory of state, in front of one daemon."""

    def __init__(self, lab: Lab, daemon: Daemon, name: str, command: tuple[str, ...] = GATE) -> None:
        self.lab = lab
        self.daemon = daemon
        self.state = lab.path / f"gate-{name}"
        self.socket = self.state / "docker.sock"
        self.splice = self.state / "splice.sock"
        self._command = command
        self._listener: socket.socket | None = None
        self._gate: subprocess.Popen[bytes] | None = None
        self._splice: subprocess.Popen[bytes] | None = None
        self._logged = 0

    @property
    def log(self) -> Path:
        """The gate's log."""
        return self.state / "gate.log"

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """What the gate logged, of one kind or all."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if kind is None or line["event"] == kind]

    def write_policy(self, document: dict[str, Any]) -> None:
        """Put a policy in place as the role does: by rename."""
        temporary = self.state / "policy.new"
        temporary.write_text(json.dumps(document))
        temporary.rename(self.state / "policy.json")

    def open(self, document: dict[str, Any], **settings: Any) -> GateProcess:
        """Write settings and policy, start both programs, wait until the gate answers."""
        self.state.mkdir()
        paths = {
            "docker": self.daemon.socket,
            "splice": self.splice,
            "policy": self.state / "policy.json",
            "image_tags": self.state / "image-tags.json",
            "claims": self.daemon.cdi_dir,
            "claims_lock": self.state / "claims.lock",
            "devices": self.state / "devices.json",
            "cdi_base": self.state / "cdi-base.json",
            "reservations": self.state / "reservations.json",
            "queue": self.state / "queue.json",
            "inventory": self.state / "inventory.json",
            "measures": self.state / "measures.json",
            "events": self.state / "events.jsonl",
            "maintenance": self.state / "maintenance.json",
        }
        values = {
            "slices": "none",
            "drain_seconds": 5,
            "reconcile_seconds": 2,
            **{key: str(path) for key, path in paths.items()},
            **settings,
        }
        (self.state / "gate.json").write_text(json.dumps(values))
        publish_gpus(self.state, GPUS)
        self.write_policy(document)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.socket))
        os.chmod(self.socket, 0o666)
        self._listener.listen(4096)
        self.start_splice()
        self.start()
        return self

    def start(self) -> None:
        """Start the gate."""
        if self._listener is None:
            raise RuntimeError("open() comes first")
        passed = self._listener.fileno()
        arguments = self.lab.with_accounts(
            sys.executable, "-c", _PASS_SOCKET, str(passed), *self._command, "--config", str(self.state / "gate.json")
        )
        with self.log.open("ab") as log:
            self._gate = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                preexec_fn=die_with_parent,
                pass_fds=(passed,),
            )
        wait_until(self._answers, 30, f"start of the gate (log: {self.log})")

    def _environment(self) -> dict[str, str]:
        return {"PYTHONPATH": PYTHON_PATH, "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}

    def start_splice(self) -> None:
        """Start the splice program."""
        with (self.state / "splice.log").open("ab") as log:
            self._splice = subprocess.Popen(
                [sys.executable, "-m", "ds01_splice", "--socket", str(self.splice)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment(), preexec_fn=die_with_parent,
            )  # fmt: skip
        wait_until(self.splice.exists, 10, "start of the splice program")

    def _answers(self) -> bool:
        if self._gate is not None and self._gate.poll() is not None:
            raise RuntimeError(f"the gate ended: {self.log.read_text()[-2000:]}")
        return any(event["event"] == "started" for event in self.events()[self._logged :])

    @property
    def pid(self) -> int:
        """The gate's pid."""
        if self._gate is None:
            raise RuntimeError("the gate does not run")
        return self._gate.pid

    @property
    def splice_pid(self) -> int:
        """The splice program's pid."""
        if self._splice is None:
            raise RuntimeError("the splice program does not run")
        return self._splice.pid

    def kill(self) -> None:
        """kill -9."""
        self.stop(signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the gate with a signal; its exit status."""
        if self._gate is None:
            return 0
        self._logged = len(self.events())
        self._gate.send_signal(number)
        status = self._gate.wait(30)
        self._gate = None
        return status

    def stop_splice(self) -> None:
        """End the splice program."""
        if self._splice is not None:
            self._splice.kill()
            self._splice.wait()
            self._splice = None
            self.splice.unlink(missing_ok=True)

    def close(self) -> None:
        """End both programs, and remove the slices that its claims had."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.stop(signal.SIGKILL)
        self.stop_splice()
        if self._listener is not None:
            self._listener.close()
        if self.log.exists():
            left_cgroups.remove(claim_slice(event["uid"], event["claim"]) for event in self.events("granted"))


@contextlib.contextmanager
def gate_before(lab: Lab, daemon: Daemon, name: str, document: dict[str, Any] | None = None, **settings: Any) -> Iterator[GateProcess]:
    """A gate in front of the daemon for as long as the block runs."""
    process = GateProcess(lab, daemon, name)
    try:
        yield process.open(policy(lab) if document is None else document, **settings)
    finally:
        process.close()
