# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Real Docker daemons of several versions on private sockets, each in mount, network and pid namespaces of its own.

A daemon lives below a lab directory that it sees under the same path as the tests do; everything that it starts ends with its pid
namespace, and the namespaces end with the process of the tests (parent-death signal), so that nothing is left behind however a run ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import left_cgroups

REPOSITORY = Path(__file__).resolve().parent.parent.parent
NATIVE = "native"
_PR_SET_PDEATHSIG = 1

# $1 root to make, $2 tree ("/" for the host's own engine), $3 lab directory. Runs inside the new namespaces.
_ENTER = r"""
set -eu
root=$1 tree=$2 lab=$3
if [ "$tree" = / ]; then
    mount -t tmpfs tmpfs /run
    mount -t proc proc /proc
    exec "$4" -s -- sleep infinity
fi
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$root/upper,workdir=$root/work" "$root/merged"
cd "$root/merged"
mount --rbind /sys sys
mount --rbind /dev dev
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mkdir -p ".$lab" old
mount --rbind "$lab" ".$lab"
pivot_root . old
umount -l /old
exec /usr/bin/tini -s -- sleep infinity
"""


class DaemonError(RuntimeError):
    """A daemon that did not come up; the message carries the end of its log."""


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll ``condition`` until it holds; raises TimeoutError naming ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds} s")
        time.sleep(0.02)


def die_with_parent() -> None:
    """For ``preexec_fn``: the child is killed when the process of the tests ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def tree(release: str) -> Path:
    """The engine tree of a Debian release (built by dev/dockerd-tree when it is not there), or ``/`` for the host's own engine."""
    if release == NATIVE:
        if shutil.which("dockerd") is None:
            raise DaemonError("the host has no dockerd of its own: install docker.io")
        return Path("/")
    done = subprocess.run([str(REPOSITORY / "dev" / "dockerd-tree"), release], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise DaemonError(f"dev/dockerd-tree {release} failed; its output is above")
    return Path(done.stdout.strip())


@dataclass
class Daemon:
    """One dockerd. ``socket`` is root's own door to it; ``cdi_dir`` is where it looks for CDI specs (not with 20.10).

    ``filtering``: it sets packet filters in its own network namespace, as on a real host.
    """

    release: str
    lab: Path
    cdi_dir: Path
    config: dict[str, object] = field(default_factory=dict)
    filtering: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    _holder: subprocess.Popen[bytes] | None = None
    _process: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> Path:
        """Everything of this daemon on disk."""
        return self.lab / f"dockerd-{self.release}"

    @property
    def socket(self) -> Path:
        """dockerd's socket."""
        return self.state / "docker.sock"

    @property
    def log(self) -> Path:
        """What dockerd said."""
        return self.state / "dockerd.log"

    def open(self) -> Daemon:
        """Make the namespaces and start dockerd in them."""
        engine = tree(self.release)
        for name in ("upper", "work", "merged", "data"):
            (self.state / name).mkdir(parents=True)
        self.state.chmod(0o711)
        config: dict[str, object] = {"log-level": "info", **self.config}
        if self.release != NATIVE:
            config = {"features": {"cdi": True}, "cdi-spec-dirs": [str(self.cdi_dir)], **config}
        (self.state / "daemon.json").write_text(json.dumps(config))
        command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child=SIGKILL", "--propagation", "private"]
        arguments = [str(self.state), str(engine), str(self.lab), shutil.which("tini") or "/usr/bin/tini"]
        with self.log.open("ab") as log:
            self._holder = subprocess.Popen(
                [*command, "sh", "-c", _ENTER, "enter", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        wait_until(self._entered, 20, f"entering the tree of {self.release}")
        self.start()
        return self

    def _init_pid(self) -> int | None:
        if self._holder is None:
            return None
        if self._holder.poll() is not None:
            raise DaemonError(f"namespaces of {self.release}: {self._tail()}")
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def _entered(self) -> bool:
        pid = self._init_pid()
        with contextlib.suppress(OSError):
            return pid is not None and Path(f"/proc/{pid}/comm").read_text().strip().startswith("tini")
        return False

    def first_pid(self) -> int:
        """The first process in the daemon's namespaces, as the tests number it."""
        pid = self._init_pid()
        if pid is None:
            raise DaemonError(f"dockerd of {self.release} was not opened")
        return pid

    def inside(self, *command: str) -> list[str]:
        """The command line that runs ``command`` inside the daemon's namespaces."""
        return ["nsenter", "-t", str(self.first_pid()), "--mount", "--net", "--pid", "--root", "--wd=/", "--", *command]

    def start(self) -> None:
        """Start dockerd and wait until it answers."""
        arguments = ["--host", f"unix://{self.socket}", "--data-root", str(self.state / "data"), "--exec-root", "/run/docker-exec"]
        arguments += [
            "--pidfile",
            "/run/dockerd.pid",
            "--config-file",
            str(self.state / "daemon.json"),
            f"--iptables={str(self.filtering).lower()}",
            "--ip6tables=false",
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.inside("dockerd", *arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
                start_new_session=True,
                env={**os.environ, **self.environment},
            )
        wait_until(self._answers, 60, f"start of dockerd {self.release} (log: {self.log})")

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise DaemonError(f"dockerd of {self.release} ended: {self._tail()}")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
                return probe.recv(64).startswith(b"HTTP/1.1 200")
            except OSError:
                return False

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def stop(self, kill: int = signal.SIGTERM) -> None:
        """End dockerd (its namespaces, and with live-restore its containers, stay); ``kill`` is the signal."""
        if self._process is None:
            return
        for pid in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
            os.kill(int(pid), kill)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self.socket.unlink(missing_ok=True)

    def close(self) -> None:
        """End everything; the pid namespace takes what is still running with it."""
        if self._holder is None:
            return
        self._holder.kill()
        self._holder.wait()
        if self._process is not None:
            self._process.wait(20)
        self._holder = self._process = None
        left_cgroups.remove(left_cgroups.of_containers(self.state / "data" / "containers"))

    def import_image(self, name: str, archive: Path) -> None:
        """Make an image ``name`` from a root file system in a tar, as ``docker import`` does."""
        body = archive.read_bytes()
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(60)
            link.connect(str(self.socket))
            repository, _, tag = name.partition(":")
            query = f"fromSrc=-&repo={repository}&tag={tag or 'latest'}&changes=CMD%20%5B%22sh%22%5D"
            head = f"POST /images/create?{query} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n"
            link.sendall(f"{head}Content-Type: application/x-tar\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = b"".join(iter(lambda: link.recv(65536), b""))
        if b" 200 " not in answer.split(b"\r\n", 1)[0] or b"errorDetail" in answer:
            raise DaemonError(f"import of {name}: {answer[-500:].decode(errors='replace')}")


def busybox_archive(target: Path, busybox: Path) -> Path:
    """A root file system of one static busybox and its applets, as a tar at ``target``."""
    applets = subprocess.run([str(busybox), "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    with tarfile.open(target, "w") as archive:
        for name, mode in (
            ("bin", 0o755),
            ("tmp", 0o1777),
            ("etc", 0o755),
            ("root", 0o700),
            ("dev", 0o755),
            ("proc", 0o555),
            ("sys", 0o555),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        archive.add(busybox, "bin/busybox")
        for applet in applets:
            if applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(entry)
    return target


@contextlib.contextmanager
def running(
    release: str, lab: Path, cdi_dir: Path, environment: dict[str, str] | None = None, *, filtering: bool = False, **config: object
) -> Iterator[Daemon]:
    """A daemon for as long as the block runs; ``environment`` is added to its own, ``config`` goes into its daemon.json."""
    daemon = Daemon(release, lab, cdi_dir, dict(config), filtering, environment or {})
    try:
        yield daemon.open()
    finally:
        daemon.close()
