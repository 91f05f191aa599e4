# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the guard costs in CPU time, against what there would be without it, in turns, as medians of the ratios of pairs.

    python tests/bench/bench_guard.py [--release sid] [--rounds 40]

``check``: the guard judges and rewrites the spec that dockerd made of a person's container; without it Python starts and does nothing. Both
become ``/bin/true`` at the end, as the guard becomes runc. ``filter``: runc runs a container with ioctl's filter as the guard writes it,
and with ioctl simply allowed. All of it runs in the daemon's namespaces, with the Python and the runc of that release.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / ".cache" / "lib"), str(ROOT / "files")]

from tests.integration.daemons import Daemon  # noqa: E402
from tests.integration.guarded import guarded  # noqa: E402
from tests.integration.lab import Lab, lab  # noqa: E402

OPERATIONS = ("check", "filter")
OWNED = ("--label", "ds01.uid=1001", "--cgroup-parent", "/ds01.slice/ds01-u1001.slice/ds01-u1001-nogpu.slice")
_PYTHON = ("/usr/bin/python3", "-I", "-S")
_NOTHING = (*_PYTHON, "-c", "import posix; posix.execv('/bin/true', ['/bin/true'])")
_CHECKS_PER_RUN = 4
Pairs = dict[str, list[tuple[float, float]]]


def _cpu(*command: str) -> float:
    """Milliseconds of CPU that a command and its children took; raises RuntimeError when it fails."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawn(command[0], command, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, file_actions=quiet)
    _, status, used = os.wait4(pid, 0)
    if status:
        raise RuntimeError(f"{command}: {status}")
    spent: resource.struct_rusage = used
    return (spent.ru_utime + spent.ru_stime) * 1000


class Runs:
    """Containers of runc's own that do nothing, each with the system call rules that are to be measured."""

    def __init__(self, seccomp: dict[str, Any]) -> None:
        self._seccomp = seccomp
        self._state = tempfile.mkdtemp(dir="/run")
        self._number = 0
        found = shutil.which("runc", path="/usr/sbin:/usr/bin")
        if found is None:
            raise RuntimeError("no runc in this tree")
        self._runc = found

    def cpu(self, syscalls: list[dict[str, Any]]) -> float:
        """What one costs, made, run and removed."""
        self._number += 1
        bundle = Path(tempfile.mkdtemp(dir="/run"))
        for name in ("bin", "proc", "dev"):
            (bundle / "rootfs" / name).mkdir(parents=True)
        shutil.copy("/usr/bin/busybox", bundle / "rootfs" / "bin" / "true")
        spec = {
            "ociVersion": "1.0.2",
            "process": {"args": ["/bin/true"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "noNewPrivileges": True},
            "root": {"path": str(bundle / "rootfs")},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "namespaces": [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "network")],
                "cgroupsPath": f"/ds01-bench-{os.getpid()}-{self._number}",
                "seccomp": {**self._seccomp, "syscalls": syscalls},
            },
        }
        (bundle / "config.json").write_text(json.dumps(spec))
        try:
            return _cpu(self._runc, "--root", self._state, "run", "--bundle", str(bundle), f"bench{self._number}")
        finally:
            shutil.rmtree(bundle)


def _measure(program: str, bundle: str, identity: str, rounds: int) -> Pairs:
    check = (*_PYTHON, program, "/bin/true", "create", "--bundle", bundle, identity)
    _cpu(*check)  # compiled modules are written, as a release has them
    seccomp = json.loads(Path(bundle, "config.json").read_text())["linux"]["seccomp"]
    rules: list[dict[str, Any]] = seccomp["syscalls"]
    first, *others = [entry for entry in rules if entry["names"] != ["ioctl"]]
    plain = [{**first, "names": [*first["names"], "ioctl"]}, *others]
    runs = Runs(seccomp)
    pairs: Pairs = {name: [] for name in OPERATIONS}
    for number in range(rounds):
        pairs["check"].append((_cpu(*_NOTHING), _cpu(*check)))
        if number % _CHECKS_PER_RUN == 0:
            pairs["filter"].append((runs.cpu(plain), runs.cpu(rules)))
    return pairs


def _beside(daemon: Daemon, work: Callable[[], Pairs]) -> Pairs:
    """Do ``work`` in a child of this process that is in the daemon's mount and pid namespaces."""
    place = Path("/proc") / str(daemon.first_pid())
    results, answer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            library = ctypes.CDLL(None, use_errno=True)
            handles = [os.open(place / "root", os.O_RDONLY), *(os.open(place / "ns" / kind, os.O_RDONLY) for kind in ("pid", "mnt"))]
            for handle in handles[1:]:
                if library.setns(handle, 0) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            os.fchdir(handles[0])
            os.chroot(".")
            os.write(answer, json.dumps(work()).encode())
            os._exit(0)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
    os.close(answer)
    with os.fdopen(results, "rb") as stream:
        text = stream.read()
    if os.waitpid(pid, 0)[1] != 0:
        raise RuntimeError("the measurement failed; its error is above")
    found: Pairs = json.loads(text)
    return found


def _in_lab(place: Lab, release: str, rounds: int) -> Pairs:
    with guarded(release, place, place.path / "bench") as daemon:
        made = place.run(daemon.socket, None, "run", "-d", "--network", "none", *OWNED, "busybox", "sleep", "1000")
        if made.returncode != 0:
            raise RuntimeError(made.stderr)
        identity = made.stdout.strip()
        bundle = f"/run/docker-exec/containerd/daemon/io.containerd.runtime.v2.task/moby/{identity}"
        program = str(place.path / "bench" / "lib" / "ds01_guard" / "start.py")
        return _beside(daemon, lambda: _measure(program, bundle, identity, rounds))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CPU time of the runtime guard, as ratios within one run.")
    parser.add_argument("--release", default="sid", choices=("trixie", "sid"))
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    with lab() as place:
        found = _in_lab(place, options.release, options.rounds)
    sys.stdout.write(f"{'operation':<10} {'without ms':>10} {'with ms':>10} {'added ms':>10} {'ratio':>7}\n")
    for name in OPERATIONS:
        pairs = found[name]
        without, guard = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        added, ratio = (statistics.median(measure) for measure in ([b - a for a, b in pairs], [b / a for a, b in pairs]))
        sys.stdout.write(f"{name:<10} {without:>10.2f} {guard:>10.2f} {added:>10.2f} {ratio:>7.2f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
