# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The programs of a server as one archive: the same bytes for the same sources, whoever packs them, whenever and wherever.

``lib/ds01`` is ``plugins/module_utils`` and ``lib/ds01_*`` are the packages of ``files``. The release is named by the hash of the archive.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from dataclasses import dataclass

IGNORED_DIRECTORIES = {"__pycache__"}
IGNORED_SUFFIXES = (".pyc", ".pyo", ".swp", "~")
ID_LENGTH = 16


@dataclass(frozen=True)
class ReleaseArchive:
    """``content`` is an uncompressed tar; ``id`` the first hexadecimal digits of its SHA-256."""

    id: str
    content: bytes


def release_sources(collection: str) -> list[tuple[str, str]]:
    """(path in the archive, path in the collection) of every file, sorted by the first."""
    roots = [("lib/ds01", os.path.join(collection, "plugins", "module_utils"))]
    programs = os.path.join(collection, "files")
    roots += [(f"lib/{name}", os.path.join(programs, name)) for name in sorted(os.listdir(programs)) if name.startswith("ds01_")]
    found = []
    for target, source in roots:
        for directory, subdirectories, names in os.walk(source):
            subdirectories[:] = sorted(set(subdirectories) - IGNORED_DIRECTORIES)
            inside = os.path.relpath(directory, source)
            for name in sorted(names):
                if not name.endswith(IGNORED_SUFFIXES):
                    found.append((os.path.normpath(os.path.join(target, inside, name)), os.path.join(directory, name)))
    return sorted(found)


def pack(members: list[tuple[str, str]]) -> ReleaseArchive:
    """An archive of (path in the archive, path of the source): only content and the run bit go in."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for target, source in members:
            with open(source, "rb") as stream:
                content = stream.read()
            member = tarfile.TarInfo(target)
            member.size = len(content)
            member.mode = 0o755 if os.access(source, os.X_OK) and os.stat(source).st_mode & 0o100 else 0o644
            tar.addfile(member, io.BytesIO(content))
    content = buffer.getvalue()
    return ReleaseArchive(hashlib.sha256(content).hexdigest()[:ID_LENGTH], content)


def pack_release(collection: str) -> ReleaseArchive:
    """The programs of the collection that lies at the path."""
    return pack(release_sources(collection))
