# SPDX-License-Identifier: MIT
"""Where the lab keeps things: one cache directory, nothing in the repository.

images/<hash>/     a built image: root.qcow2, home.qcow2, docker.qcow2, vmlinuz, initrd.img
stored/<id>/       disks (and perhaps memory) frozen by a snapshot; never written again
levels/<name>      the id that a level's name stands for now
servers/<name>/    a server: its overlay disks, serial.log, server.json, sockets
ssh/               the key that opens every account, and the server's host key
files/             container images as tar files, for `docker import`
"""

from __future__ import annotations

import os
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("DS01_LAB_CACHE") or Path.home() / ".cache" / "ds01-lab").absolute()
IMAGES = CACHE / "images"
STORED = CACHE / "stored"
LEVELS = CACHE / "levels"
SERVERS = CACHE / "servers"
SSH = CACHE / "ssh"
FILES = CACHE / "files"
IDENTITY = SSH / "id_ed25519"
HOST_KEY = SSH / "host_ed25519"


def make_directories() -> None:
    """Creates the cache's directories; the ssh directory is private."""
    for directory in (IMAGES, STORED, LEVELS, SERVERS, FILES):
        directory.mkdir(parents=True, exist_ok=True)
    SSH.mkdir(mode=0o700, exist_ok=True)
