# SPDX-License-Identifier: MIT
"""The Debian or Ubuntu packages that the machine running the lab needs."""

from __future__ import annotations

import os
import shutil

from .failure import LabError
from .process import run, say

# command that proves the package is there -> package
NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "ssh": "openssh-client",
}
STATIC_BUSYBOX = "busybox-static"
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _missing() -> list[str]:
    missing = [package for command, package in NEEDED.items() if shutil.which(command, path=SEARCH_PATH) is None]
    if not _installed(STATIC_BUSYBOX):
        missing.append(STATIC_BUSYBOX)
    if not _installed("debian-archive-keyring"):
        missing.append("debian-archive-keyring")
    return missing


def _installed(package: str) -> bool:
    try:
        return run(["dpkg-query", "-W", "-f", "${db:Status-Status}", package]).strip() == "installed"
    except LabError:
        return False


def install_missing() -> None:
    """Installs with apt what is not there yet; does nothing when everything is."""
    missing = _missing()
    if not missing:
        return
    if os.geteuid() != 0:
        raise LabError(f"missing packages: {' '.join(missing)}; run `sudo apt-get install {' '.join(missing)}`")
    say(f"installing {' '.join(missing)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-q"], env=env)
    run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing], env=env)
