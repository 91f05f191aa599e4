# SPDX-License-Identifier: MIT
"""Container images without a registry: tar files of a root tree, for `docker import`.

busybox  2 MB, a static busybox with all its commands: enough for nearly every test, and fast where the server is emulated.
single   one static program and nothing else: /sleep. No shell, no directory, no /etc.
python   Debian with Python and a shell, for what needs users, apt or a real libc. Importing it takes a minute or two on an emulated server.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

from . import mirror
from .failure import LabError
from .host_packages import install_missing
from .places import FILES, make_directories
from .process import run, say

BUSYBOX = Path("/bin/busybox")
PYTHON_PACKAGES = ("bash", "ca-certificates", "procps", "python3")
KINDS = ("busybox", "single", "python")


def image_tar(kind: str) -> Path:
    """The tar file of an image, made when it is not in the cache."""
    make_directories()
    install_missing()
    makers: dict[str, Callable[[], Path]] = {"busybox": _busybox, "single": _single, "python": _python}
    return makers[kind]()


def _busybox() -> Path:
    program = BUSYBOX.read_bytes()
    target = FILES / f"busybox-{hashlib.sha256(program).hexdigest()[:12]}.tar"
    if target.exists():
        return target
    half = target.with_suffix(".half")
    with tarfile.open(half, "w") as tar:
        for folder in ("bin", "etc", "proc", "root", "sys", "tmp", "var"):
            entry = tarfile.TarInfo(folder)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        for name, content in (
            ("bin/busybox", program),
            ("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
            ("etc/group", b"root:x:0:\nnogroup:x:65534:\n"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o755 if name.startswith("bin/") else 0o644
            tar.addfile(entry, io.BytesIO(content))
        for applet in run([str(BUSYBOX), "--list"]).split():
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type = tarfile.SYMTYPE
                link.linkname = "busybox"
                tar.addfile(link)
    half.rename(target)
    return target


def _single() -> Path:
    program = BUSYBOX.read_bytes()
    target = FILES / f"single-{hashlib.sha256(program).hexdigest()[:12]}.tar"
    if target.exists():
        return target
    half = target.with_suffix(".half")
    with tarfile.open(half, "w") as tar:
        entry = tarfile.TarInfo("sleep")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
    half.rename(target)
    return target


def _python() -> Path:
    key = hashlib.sha256(" ".join((mirror.SUITE, *PYTHON_PACKAGES)).encode()).hexdigest()[:12]
    target = FILES / f"python-{key}.tar"
    if target.exists():
        return target
    if os.geteuid() != 0:
        raise LabError("building the python image needs root; run `sudo -E dev/lab/lab image python`")
    say("building the python container image (about a minute)")
    half = FILES / f"python-{key}.half.tar"
    run(
        [
            "mmdebstrap",
            "--mode=root",
            "--variant=minbase",
            f"--include={','.join(PYTHON_PACKAGES)}",
            f"--keyring={mirror.keyring()}",
            *[f"--aptopt={line}" for line in mirror.apt_settings()],
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            mirror.SUITE,
            str(half),
            mirror.main_mirror(),
        ],
        timeout=900,
    )
    half.rename(target)
    return target
