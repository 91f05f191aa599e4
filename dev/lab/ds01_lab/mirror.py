# SPDX-License-Identifier: MIT
"""Which package mirror to use, and how this machine reaches it.

The lab takes the mirror, proxy and private certificate authorities from the machine that it runs on, so that none of them stands
in the repository.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .failure import LabError
from .process import run

SUITE = "trixie"
DEFAULT_MIRROR = "http://deb.debian.org/debian"
DEFAULT_SECURITY_MIRROR = "http://deb.debian.org/debian-security"
KEYRINGS = Path("/usr/share/keyrings")
PRIVATE_CAS = Path("/usr/local/share/ca-certificates")
CARRIED_APT_KEYS = ("Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::http::Proxy", "Acquire::https::Proxy")
_URI = re.compile(r"https?://[^\s\]]+")


def _uris_of_this_machine() -> list[str]:
    uris: list[str] = []
    folder = Path("/etc/apt/sources.list.d")
    files = [Path("/etc/apt/sources.list"), *sorted(folder.glob("*.list")), *sorted(folder.glob("*.sources"))]
    for file in files:
        if not file.is_file():
            continue
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith(("deb ", "URIs:")):
                uris += [uri.rstrip("/") for uri in _URI.findall(line)]
    return uris


def main_mirror() -> str:
    """The Debian mirror: DS01_LAB_MIRROR, else this machine's own, else Debian's."""
    named = os.environ.get("DS01_LAB_MIRROR")
    if named:
        return named.rstrip("/")
    return next((uri for uri in _uris_of_this_machine() if uri.endswith("/debian")), DEFAULT_MIRROR)


def security_mirror() -> str:
    """The mirror of security updates that goes with main_mirror."""
    return next((uri for uri in _uris_of_this_machine() if uri.endswith("/debian-security")), DEFAULT_SECURITY_MIRROR)


def sources_for_guest() -> str:
    """The guest's /etc/apt/sources.list.d/debian.sources."""
    stanzas = [(main_mirror(), f"{SUITE} {SUITE}-updates"), (security_mirror(), f"{SUITE}-security")]
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        for uri, suites in stanzas
    )


def apt_settings() -> list[str]:
    """apt settings of this machine that decide whether the mirror can be reached, as lines of apt.conf."""
    dump = run(["apt-config", "dump", *CARRIED_APT_KEYS])
    lines = [line for line in dump.splitlines() if not line.endswith('"";')]
    proxy = os.environ.get("http_proxy")
    if proxy and not any("http::Proxy" in line for line in lines):
        lines.append(f'Acquire::http::Proxy "{proxy}";')
    return lines


def private_certificates() -> list[Path]:
    """Certificate authorities that an administrator added to this machine."""
    return sorted(PRIVATE_CAS.glob("**/*.crt"))


def keyring() -> Path:
    """A directory of keys that signs the suite."""
    if not list(KEYRINGS.glob(f"debian-archive-{SUITE}-*.gpg")):
        raise LabError(f"{KEYRINGS}: no key of Debian {SUITE}; install debian-archive-keyring 2023.3+deb12u2 or later")
    return KEYRINGS
