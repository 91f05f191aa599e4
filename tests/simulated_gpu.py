# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Simulated GPUs for tests: the real library, built once, over a state file of the test's own.

gpus = simulated_gpus(tmp_path, ["a100-40gb", "h100-80gb"])
subprocess.run([...], env={**os.environ, **gpus.env})      # any NVML program, unmodified
gpus.use_here(monkeypatch)                                  # or pynvml in this process
gpus.add_process(0, os.getpid(), memory_mib=1024)
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ds01_gpusim import changes
from ds01_gpusim.majors import mig_minors
from ds01_gpusim.new_host import new_host
from ds01_gpusim.processes import start_ticks
from ds01_gpusim.state_file import boot_id, boot_time_ms, changing, create, read
from ds01_gpusim.state_text import Record, State

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "roles" / "gpu_simulator" / "files" / "nvml"
CACHE = ROOT / ".cache" / "nvml-sim"

MIB = 1 << 20


def build_library() -> Path:
    """Build the library from this source, once: kept by a hash of all source files, safe against parallel test workers."""
    digest = hashlib.sha256()
    for source in sorted(SOURCE.iterdir()):
        if source.suffix in (".c", ".h", ".txt") or source.name == "Makefile":
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    out = CACHE / digest.hexdigest()[:16]
    library = out / "libnvidia-ml.so.1"
    if library.exists():
        return library
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            done = subprocess.run(["make", "-s", "-C", str(SOURCE), f"OUT={out}"], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"the simulated NVML library does not build:\n{done.stdout}{done.stderr}")
    return library


class SimulatedGpus:
    """A simulated host's GPUs. ``env`` makes a program see them; ``mig_minors`` is their table of capability minors."""

    def __init__(self, directory: Path, models: list[str]) -> None:
        self.library = build_library()
        self.state_path = directory / "state"
        create(self.state_path, new_host(models, boot=boot_id(), now_ms=boot_time_ms(), admin_uid=os.getuid()))
        self.mig_minors = directory / "mig-minors"
        self.mig_minors.write_text(mig_minors(range(len(models))), encoding="ascii")
        self.env = {
            "LD_LIBRARY_PATH": str(self.library.parent),
            "DS01SIM_STATE": str(self.state_path),
            "DS01SIM_LIBRARY": str(self.library),
        }

    def use_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let pynvml in this process find the library: once loaded by path, it is found by its name. Call nvmlInit afterwards."""
        ctypes.CDLL(str(self.library))
        monkeypatch.setenv("DS01SIM_STATE", str(self.state_path))

    def run_python(self, script: str, *, uid: int | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a script in a Python of its own that sees these GPUs.

        With ``uid`` it becomes that user once the library and pynvml are loaded, which may lie where that user cannot look.
        """
        if uid is not None:
            script = (
                f"import ctypes, os, pynvml\nctypes.CDLL('{self.library}')\nos.setgroups([])\nos.setgid({uid})\nos.setuid({uid})\n{script}"
            )
        return subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def run_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``ds01-gpusim`` on these GPUs."""
        command = [sys.executable, "-m", "ds01_gpusim", *arguments]
        env = {**os.environ, **self.env, "PYTHONPATH": str(ROOT / "files")}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)

    def state(self) -> State:
        """The state as it is now."""
        return read(self.state_path)

    def gpu(self, index: int) -> Record:
        """The state of one GPU."""
        return self.state().gpu(index)

    def set(self, gpu: int, **values: int) -> None:
        """Set fields of a GPU (util, mem_util, temperature, power_mw, throttle, remapped_uncorrected, reset_blocked, minor, ...)."""
        with changing(self.state_path) as state:
            changes.set_values(state, gpu, boot_time_ms(), **values)

    def set_instance_util(self, gpu: int, gi: int, sm_util: int) -> None:
        """Set the SM utilisation in per cent that GPM reports for a GPU instance."""
        with changing(self.state_path) as state:
            changes.find_gpu_instance(state, gpu, gi).set(sm_util=sm_util)

    def add_process(
        self,
        gpu: int,
        pid: int,
        *,
        memory_mib: int = 1024,
        instance: tuple[int, int] | None = None,
        kind: str = "compute",
        sm_util: int = 0,
    ) -> None:
        """A process uses a GPU, or its instance (GPU instance id, compute instance id). It counts only while it lives."""
        with changing(self.state_path) as state:
            changes.add_process(
                state,
                gpu,
                pid,
                memory_mib * MIB,
                started=start_ticks(pid),
                now_us=time.time_ns() // 1000,
                instance=instance,
                kind=kind,
                sm_util=sm_util,
            )

    def remove_process(self, pid: int) -> None:
        """A process lets go of all GPUs."""
        with changing(self.state_path) as state:
            changes.remove_process(state, pid, time.time_ns() // 1000)

    def xid(self, gpu: int, code: int, instance: tuple[int, int] | None = None) -> None:
        """The driver reports an XID."""
        with changing(self.state_path) as state:
            changes.report_xid(state, gpu, code, instance)

    def ecc_errors(self, gpu: int, *, corrected: int = 0, uncorrected: int = 0) -> None:
        """Memory errors happen."""
        with changing(self.state_path) as state:
            changes.count_ecc_errors(state, gpu, corrected, uncorrected)

    def lose(self, gpu: int) -> None:
        """The GPU falls off the bus."""
        with changing(self.state_path) as state:
            changes.lose_gpu(state, gpu)

    def restore(self, gpu: int) -> None:
        """The lost GPU is back."""
        with changing(self.state_path) as state:
            changes.restore_gpu(state, gpu)

    def latency(self, seconds: float) -> None:
        """Every NVML call takes this much longer."""
        with changing(self.state_path) as state:
            state.system.set(latency_us=int(seconds * 1_000_000))

    def hang(self, hanging: bool = True) -> None:
        """Every NVML call waits until this is called with False."""
        with changing(self.state_path) as state:
            state.system.set(hang=hanging)

    def reboot(self) -> None:
        """The host reboots: instances and processes are gone, MIG mode stays on Ampere only."""
        done = self.run_command("reboot")
        if done.returncode != 0:
            raise RuntimeError(done.stderr)


def simulated_gpus(tmp_path: Path, models: list[str] | None = None) -> SimulatedGpus:
    """Simulated GPUs of these models (a100-40gb, a100-80gb, h100-80gb, h200-141gb), MIG off, in order of index."""
    directory = tmp_path / "gpusim"
    directory.mkdir(mode=0o755, exist_ok=True)
    return SimulatedGpus(directory, models or ["a100-40gb"])
