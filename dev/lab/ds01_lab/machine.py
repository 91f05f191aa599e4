# SPDX-License-Identifier: MIT
"""The QEMU process of a server: its command line, its start, its end."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from .disks import DISKS
from .failure import LabError
from .process import run

MEMORY_MIB = 4096
CPUS = 2
# An emulated kernel panics now and then while it boots; it starts once more by itself.
KERNEL_LINE = "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet systemd.show_status=1 panic=5"
# QEMU 7.2's emulation of cmpxchg16b corrupts flags: with cx16 the guest kernel dies as soon as containerd starts.
ACCELERATORS = {
    "kvm": ["-accel", "kvm", "-cpu", "host"],
    "tcg": ["-accel", "tcg,thread=multi", "-cpu", "max,-cx16,-la57,-pku"],
}


@dataclass(frozen=True)
class Machine:
    """Everything that decides the QEMU command line of one server."""

    directory: Path
    image: Path
    accelerator: str
    port: int

    @property
    def qmp(self) -> Path:
        return self.directory / "qmp.sock"

    @property
    def pid_file(self) -> Path:
        return self.directory / "qemu.pid"

    @property
    def serial(self) -> Path:
        return self.directory / "serial.log"

    def argv(self, *, incoming: bool) -> list[str]:
        """The command line; with incoming the machine waits for a saved memory instead of booting."""
        argv = ["qemu-system-x86_64", "-machine", "pc", *ACCELERATORS[self.accelerator], "-smp", str(CPUS), "-m", str(MEMORY_MIB)]
        argv += ["-kernel", str(self.image / "vmlinuz"), "-initrd", str(self.image / "initrd.img"), "-append", KERNEL_LINE]
        for disk in DISKS:
            name = disk.label
            argv += ["-drive", f"if=none,id={name},file={self.directory / disk.file},format=qcow2,cache=unsafe,discard=unmap"]
            argv += ["-device", f"virtio-blk-pci,drive={name}"]
        argv += ["-netdev", f"user,id=net0,hostfwd=tcp:127.0.0.1:{self.port}-:22", "-device", "virtio-net-pci,netdev=net0"]
        argv += ["-device", "virtio-rng-pci", "-display", "none", "-monitor", "none", "-serial", f"file:{self.serial}"]
        argv += ["-qmp", f"unix:{self.qmp},server=on,wait=off", "-daemonize", "-pidfile", str(self.pid_file)]
        return [*argv, "-incoming", "defer"] if incoming else argv

    def start(self, *, incoming: bool) -> None:
        """Starts QEMU in the background; LabError with QEMU's words when it refuses."""
        for leftover in (self.qmp, self.pid_file):
            leftover.unlink(missing_ok=True)
        run(self.argv(incoming=incoming), timeout=60)

    def pid(self) -> int | None:
        """The process id, or None when no QEMU of this server runs."""
        try:
            pid = int(self.pid_file.read_text(encoding="utf-8"))
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except (OSError, ValueError):
            return None
        return pid if str(self.qmp) in command else None

    def kill(self) -> None:
        """Ends QEMU at once and waits until the process is gone."""
        pid = self.pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while self.pid() is not None:
            if time.monotonic() > deadline:
                raise LabError(f"process {pid} of {self.directory.name} does not end")
            time.sleep(0.05)


def memory_key(image: Path, accelerator: str) -> str:
    """A saved memory fits only the same QEMU, command line, image and accelerator: this names the combination."""
    version = run(["qemu-system-x86_64", "--version"]).splitlines()[0]
    fixed = Machine(Path("/"), image, accelerator, 0).argv(incoming=False)
    return hashlib.sha256("\0".join([version, *fixed]).encode()).hexdigest()[:16]
