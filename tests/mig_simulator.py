# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The simulated NVML in this process: built from the role's sources, over a state file of the test's own.

The library is loaded once by its full path; the binding then finds it by its name, as it would find the driver's.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ds01.core.devices_json import from_json
from ds01.mig_apply import MigPaths

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "roles" / "gpu_simulator" / "files" / "nvml"
DRIVER = "580.65.06-sim"

_CDI = f"""#!{sys.executable}
import json, os
words = [line.split() for line in open(os.environ["DS01SIM_STATE"])]
named = [dict(w.split("=", 1) for w in line if "=" in w)["uuid"] for line in words if line[0] in ("gpu", "ci")]
print(json.dumps({{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [{{"name": n, "containerEdits": {{}}}} for n in named]}}))
"""


@cache
def load_library() -> Path:
    """Build the library if its sources are newer, load it into this process, and return its directory."""
    out = ROOT / ".cache" / "simulated-nvml"
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["make", "--silent", f"OUT={out}"], cwd=SOURCES, check=True)
    ctypes.CDLL(str(out / "libnvidia-ml.so.1"), mode=ctypes.RTLD_GLOBAL)
    return out


def gpu_uuid(index: int) -> str:
    """The UUID of a simulated GPU of these tests."""
    return f"GPU-{index:08x}-5a5a-4000-8000-{index:012x}"


@dataclass(frozen=True)
class Simulator:
    """A host with simulated GPUs; all files below ``directory``."""

    directory: Path

    @property
    def state(self) -> Path:
        """The simulator's state file."""
        return self.directory / "state"

    @property
    def paths(self) -> MigPaths:
        """Where MIG changes read and write in this test."""
        run = self.directory / "run"
        return MigPaths(
            run / "mig.lock",
            run / "devices.json",
            run / "cdi-base.json",
            self.directory / "mig-minors",
            self.directory / "policy.json",
            self.directory / "mig.json",
        )

    def write(self, *lines: str) -> None:
        """Replace the state. ``gpu 0 model=…`` gets a UUID and, as every line, whatever else it says."""
        text = [f"sys format=1 driver={DRIVER} admin_uid={os.geteuid()}"]
        for line in lines:
            words = line.split()
            named = "uuid=" in line or words[0] != "gpu"
            text.append(line if named else f"{line} uuid={gpu_uuid(int(words[1]))} minor={words[1]}")
        self.state.write_text("\n".join(text) + "\n")

    def lines(self, kind: str) -> list[dict[str, str]]:
        """The state's lines of that kind, as their keys and values; what has no key is under its position."""
        found = []
        for words in (line.split() for line in self.state.read_text().splitlines()):
            if words[0] == kind:
                found.append({str(i): w for i, w in enumerate(words)} | dict(w.split("=", 1) for w in words if "=" in w))
        return found

    def standing(self, gpu: int = 0) -> list[str]:
        """Instances with their compute instances: ``3g.20gb@4:3`` for a whole one."""
        return sorted(
            f"{i['name']}@{i['start']}:" + "+".join(c["slices"] for c in self.lines("ci") if (c["1"], c["2"]) == (i["1"], i["2"]))
            for i in self.lines("gi")
            if i["1"] == str(gpu)
        )

    def mode(self, gpu: int = 0) -> tuple[str, str]:
        """(current, pending) MIG mode as the state has them."""
        found = next(g for g in self.lines("gpu") if g["1"] == str(gpu))
        return found.get("mig_mode", "0"), found.get("mig_pending", "0")

    def published(self) -> list[str]:
        """Keys of all devices in the published snapshot."""
        inventory = from_json(json.loads(self.paths.devices.read_text()))
        return [k for g in inventory.gpus for k in ([i.key for i in g.instances] if g.mig_enabled else [g.key])]


def start(directory: Path, setenv: Callable[[str, str], None]) -> Simulator:
    """A simulator with the program that describes its devices on PATH and the table of capability minors; no GPU yet."""
    load_library()
    simulator = Simulator(directory)
    table = [f"gpu{g}/gi{i}/access {3 + 135 * g + 9 * i}" for g in range(8) for i in range(15)]
    table += [f"gpu{g}/gi{i}/ci{c}/access {4 + 135 * g + 9 * i + c}" for g in range(8) for i in range(15) for c in range(8)]
    (directory / "mig-minors").write_text("config 1\nmonitor 2\n" + "\n".join(table) + "\n")
    programs = directory / "bin"
    programs.mkdir()
    (programs / "ds01-gpusim").write_text(_CDI)
    (programs / "ds01-gpusim").chmod(0o755)
    setenv("PATH", f"{programs}:{os.environ['PATH']}")
    setenv("DS01SIM_STATE", str(simulator.state))
    simulator.write()
    return simulator
