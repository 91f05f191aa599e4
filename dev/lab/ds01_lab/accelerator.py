# SPDX-License-Identifier: MIT
"""Choosing between KVM and emulation. /dev/kvm may exist and not work: the kernel is really booted with it, once per start of the host."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from .machine import ACCELERATORS
from .places import CACHE
from .process import run, say

PROBE_LIMIT_S = 20.0
# printed by the kernel after it has brought up memory, timers and the second CPU
PROOF = b"Run /init as init process"


def choose(image: Path) -> str:
    """Says "kvm" where this image's kernel boots with it, else "tcg". DS01_LAB_ACCEL overrides."""
    named = os.environ.get("DS01_LAB_ACCEL")
    if named in ACCELERATORS:
        return named
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    version = run(["qemu-system-x86_64", "--version"]).splitlines()[0]
    remembered = CACHE / "accelerator"
    seen = f"{boot} {image.name} {version}: "
    if remembered.is_file() and remembered.read_text(encoding="utf-8").startswith(seen):
        return remembered.read_text(encoding="utf-8").removeprefix(seen)
    result = "kvm" if _kvm_boots(image) else "tcg"
    say(f"accelerator: {result}" + ("" if result == "kvm" else " (a boot with /dev/kvm failed; emulation is about ten times slower)"))
    remembered.write_text(seen + result, encoding="utf-8")
    return result


def _kvm_boots(image: Path) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        serial = Path(scratch) / "serial"
        argv = ["qemu-system-x86_64", "-machine", "pc", *ACCELERATORS["kvm"], "-smp", "2", "-m", "512"]
        argv += ["-display", "none", "-monitor", "none"]
        argv += ["-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd.img"), "-append", "console=ttyS0 panic=-1"]
        argv += ["-no-reboot", "-serial", f"file:{serial}"]
        guest = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + PROBE_LIMIT_S
            while time.monotonic() < deadline and guest.poll() is None:
                if serial.is_file() and PROOF in serial.read_bytes():
                    return True
                time.sleep(0.2)
            return False
        finally:
            guest.kill()
            guest.wait()
