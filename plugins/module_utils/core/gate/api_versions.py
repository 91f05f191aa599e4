# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which versions of Docker's API are spoken before a daemon: those that both it and the gate know.

1.45 (Docker 26) is the oldest that a daemon may have as its newest: there a bind mount can be pinned (VolumeOptions.Subpath). 1.51 (Docker
28) is the newest whose routes and fields the gate knows; a newer daemon is spoken to in it, as long as it still takes it (Docker 29 speaks
1.44 to 1.52). Clients ask for the newest and go by what they are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Version = tuple[int, int]

OLDEST_DAEMON: Version = (1, 45)
OLDEST: Version = (1, 41)
NEWEST: Version = (1, 51)


class DaemonNotSupported(Exception):
    """A daemon that the gate can't stand before; the message says why and what would do."""


def spoken(version: Mapping[str, Any]) -> tuple[Version, Version]:
    """(oldest, newest) to speak, from dockerd's answer to ``/version``. Raises DaemonNotSupported."""
    release = str(version.get("Version", ""))[:40] or "of unknown version"
    newest, oldest = _parse(version.get("ApiVersion"), release), _parse(version.get("MinAPIVersion") or "1.12", release)
    if newest < OLDEST_DAEMON:
        raise DaemonNotSupported(
            f"Docker {release} is refused: it speaks API {text(newest)}, and bind mounts can be pinned since {text(OLDEST_DAEMON)} "
            "(Docker 26). Install Docker 26 or newer (role docker says from where)."
        )
    if oldest > NEWEST:
        raise DaemonNotSupported(
            f"Docker {release} is refused: it speaks API {text(oldest)} and newer, and this gate knows {text(OLDEST)} to {text(NEWEST)}. "
            "Install a newer ds01.infra, or an older Docker."
        )
    return max(oldest, OLDEST), min(newest, NEWEST)


def text(version: Version) -> str:
    """As Docker writes it."""
    return f"{version[0]}.{version[1]}"


def _parse(value: object, release: str) -> Version:
    major, _, minor = str(value).partition(".")
    if not (major.isdecimal() and minor.isdecimal()):
        raise DaemonNotSupported(f"Docker {release} is refused: it calls its API {value!r:.40}, which is no version.")
    return int(major), int(minor)
