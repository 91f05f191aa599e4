# SPDX-License-Identifier: MIT
"""Building the server's image: a Debian tree by mmdebstrap, put into disks, with kernel and initrd beside them.

An image is named by a hash over everything that goes into it, so that it is built once and again only when something changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path

from . import mirror
from .disks import DISKS, make_empty_xfs, tree_to_ext4
from .failure import LabError
from .host_packages import install_missing
from .keys import make_keys, public
from .locks import alone
from .places import HOST_KEY, IDENTITY, IMAGES, SOURCE, make_directories
from .process import run, say

BARE = "bare"
BASE = "base"
PACKAGE_LISTS = {BARE: ("bare.txt",), BASE: ("bare.txt", "base.txt", "engines.txt")}
GENERATION = 1


def packages(kind: str) -> list[str]:
    """The packages of an image, sorted."""
    names: set[str] = set()
    for file in PACKAGE_LISTS[kind]:
        lines = (SOURCE / "packages" / file).read_text(encoding="utf-8").splitlines()
        names |= {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    return sorted(names)


def _generated_files() -> dict[str, str]:
    """Files of the guest that depend on this machine or this cache: path below / -> content."""
    files = {
        "etc/apt/sources.list.d/debian.sources": mirror.sources_for_guest(),
        "etc/apt/apt.conf.d/90lab": "\n".join([*mirror.apt_settings(), 'APT::Install-Recommends "false";', ""]),
        "etc/ssh/lab_authorized_keys": public(IDENTITY),
        "etc/ssh/ssh_host_ed25519_key": HOST_KEY.read_text(encoding="utf-8"),
        "etc/ssh/ssh_host_ed25519_key.pub": public(HOST_KEY),
        "root/accounts.txt": (SOURCE / "accounts.txt").read_text(encoding="utf-8"),
    }
    for certificate in mirror.private_certificates():
        files[f"usr/local/share/ca-certificates/{certificate.name}"] = certificate.read_text(encoding="utf-8")
    return files


def _static_files() -> dict[str, str]:
    root = SOURCE / "rootfs"
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in sorted(root.rglob("*")) if path.is_file()}


def image_key(kind: str) -> str:
    """Hash of the image's inputs, 16 hex digits."""
    digest = hashlib.sha256()
    for part in (str(GENERATION), kind, mirror.SUITE, *packages(kind), (SOURCE / "setup.sh").read_text(encoding="utf-8")):
        digest.update(part.encode() + b"\0")
    for path, content in sorted({**_static_files(), **_generated_files()}.items()):
        digest.update(path.encode() + b"\0" + content.encode() + b"\0")
    return digest.hexdigest()[:16]


def build(kind: str) -> Path:
    """Returns the directory of the image, building it when it is not in the cache. Needs root (mmdebstrap, ownership of files)."""
    make_directories()
    install_missing()
    with alone(IMAGES / ".lock"):
        make_keys()
        target = IMAGES / image_key(kind)
        if not target.is_dir():
            _build_into(target, kind)
        return target


def _build_into(target: Path, kind: str) -> None:
    if os.geteuid() != 0:
        raise LabError("building an image needs root (file ownership inside the tree); run `sudo -E dev/lab/lab build`")
    started = time.monotonic()
    say(f"building image {kind} {target.name} from {mirror.main_mirror()} (one to three minutes)")
    with tempfile.TemporaryDirectory(dir=IMAGES, prefix="building-") as scratch:
        half = Path(scratch) / "image"
        half.mkdir()
        tree = Path(scratch) / "tree"
        _debian_tree(kind, Path(scratch), tree)
        shutil.copy(_newest(tree / "boot", "vmlinuz-*"), half / "vmlinuz")
        shutil.copy(_newest(tree / "boot", "initrd.img-*"), half / "initrd.img")
        tree_to_ext4(tree, half / DISKS[0].file, DISKS[0].label)
        for disk in DISKS[1:]:
            make_empty_xfs(half / disk.file, disk.label)
        half.rename(target)
    say(f"image {kind} {target.name} built in {time.monotonic() - started:.0f} s")


def _debian_tree(kind: str, scratch: Path, tree: Path) -> None:
    overlay = scratch / "overlay"
    for path, content in {**_static_files(), **_generated_files()}.items():
        file = overlay / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    setup = scratch / "setup.sh"
    shutil.copy(SOURCE / "setup.sh", setup)
    apt_options = [f"--aptopt={line}" for line in mirror.apt_settings()]
    run(
        [
            "mmdebstrap",
            "--mode=root",
            "--variant=minbase",
            f"--include={','.join(packages(kind))}",
            f"--keyring={mirror.keyring()}",
            *apt_options,
            f'--customize-hook=cp -r --no-preserve=all {overlay}/. "$1"/',
            '--customize-hook=rm -f "$1"/etc/apt/sources.list',
            f'--customize-hook=cp {setup} "$1"/setup.sh && chroot "$1" sh /setup.sh && rm "$1"/setup.sh',
            mirror.SUITE,
            str(tree),
            f"deb {mirror.main_mirror()} {mirror.SUITE} main",
            f"deb {mirror.main_mirror()} {mirror.SUITE}-updates main",
            f"deb {mirror.security_mirror()} {mirror.SUITE}-security main",
        ],
        timeout=1200,
    )
    # mmdebstrap leaves the build host's resolver and name in place
    for name in ("resolv.conf", "hostname"):
        shutil.copy(SOURCE / "rootfs" / "etc" / name, tree / "etc" / name)


def _newest(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise LabError(f"{folder}: no {pattern} in the built tree; is linux-image-cloud-amd64 in packages/bare.txt?")
    return found[-1]
