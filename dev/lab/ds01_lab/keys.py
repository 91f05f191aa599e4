# SPDX-License-Identifier: MIT
"""The lab's two keys: one that opens every account, and the server's own, known in advance so that no host key is taken on trust."""

from __future__ import annotations

from pathlib import Path

from .places import HOST_KEY, IDENTITY, SSH
from .process import run

HOST_ALIAS = "ds01-lab"
KNOWN_HOSTS = SSH / "known_hosts"


def make_keys() -> None:
    """Makes the keys that do not exist yet, and the known_hosts file."""
    for path, comment in ((IDENTITY, "ds01-lab"), (HOST_KEY, "ds01-lab-host")):
        if not path.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
    KNOWN_HOSTS.write_text(f"{HOST_ALIAS} {public(HOST_KEY)}", encoding="utf-8")


def public(key: Path) -> str:
    """The public half of a key, one line."""
    return key.with_suffix(".pub").read_text(encoding="utf-8")
