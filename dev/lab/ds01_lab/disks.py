# SPDX-License-Identifier: MIT
"""The server's disks: qcow2 files over frozen qcow2 files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .process import run

SIZE = "20G"


@dataclass(frozen=True)
class Disk:
    """A disk of every server: its file name in a directory of disks, and the label of its filesystem."""

    file: str
    label: str


# in the order of /dev/vda, /dev/vdb, /dev/vdc
DISKS = (Disk("root.qcow2", "lab-root"), Disk("home.qcow2", "lab-home"), Disk("docker.qcow2", "lab-docker"))


def tree_to_ext4(tree: Path, target: Path, label: str) -> None:
    """Writes a directory tree into an ext4 filesystem without mounting anything."""
    raw = target.with_suffix(".raw")
    run(["truncate", "-s", SIZE, str(raw)])
    run(["mkfs.ext4", "-q", "-F", "-L", label, "-E", "lazy_itable_init=1,lazy_journal_init=1", "-d", str(tree), str(raw)], timeout=300)
    _raw_to_qcow2(raw, target)


def make_empty_xfs(target: Path, label: str) -> None:
    """Makes an empty XFS filesystem, whose quotas are switched on by the mount options in the guest."""
    raw = target.with_suffix(".raw")
    run(["truncate", "-s", SIZE, str(raw)])
    run(["mkfs.xfs", "-q", "-f", "-L", label, str(raw)])
    _raw_to_qcow2(raw, target)


def _raw_to_qcow2(raw: Path, target: Path) -> None:
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(target)], timeout=300)
    raw.unlink()


def overlay(backing: Path, target: Path) -> None:
    """Makes a disk that starts as its backing file and keeps its own changes."""
    target.unlink(missing_ok=True)
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", "qcow2", str(target)])
