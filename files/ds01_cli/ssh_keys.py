# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A person's SSH keys in their home: what is there, what sshd would not accept, and a new key for this server's own connections."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .failure import Failure

_TYPES = ("ed25519", "ecdsa", "rsa")


@dataclass(frozen=True)
class SshState:
    """``own`` is the public key that the person has here (None: none), ``accepted`` how many keys may log in by their
    ``authorized_keys``, ``loose`` the paths that others may write and sshd therefore ignores."""

    own: Path | None
    accepted: int
    loose: tuple[Path, ...]


def look(home: Path) -> SshState:
    """What is there; what can't be read counts as not there."""
    place = home / ".ssh"
    own = next((path for kind in _TYPES if (path := place / f"id_{kind}.pub").is_file()), None)
    authorized = place / "authorized_keys"
    accepted = 0
    if authorized.is_file():
        try:
            lines = authorized.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        accepted = sum(1 for line in lines if line.strip() and not line.lstrip().startswith("#"))
    loose = tuple(path for path in (home, place, authorized) if path.exists() and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    return SshState(own, accepted, loose)


def tighten(paths: tuple[Path, ...]) -> None:
    """Take writing from others; raises Failure."""
    for path in paths:
        try:
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
        except OSError as error:
            raise Failure(f"{path}: {error.strerror}", f"chmod go-w {path}") from None


def make_key(home: Path, comment: str) -> Path:
    """A new ed25519 key without a passphrase; its public half. Raises Failure."""
    place = home / ".ssh"
    key = place / "id_ed25519"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", os.fspath(key)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Failure(f"no key could be made: {error.strerror}", "ssh-keygen -t ed25519") from None
    if done.returncode != 0:
        raise Failure(f"no key could be made: {done.stderr.strip() or 'ssh-keygen failed'}", "ssh-keygen -t ed25519")
    return key.with_suffix(".pub")
