# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The table of GPU claims: the directory of CDI specs. Reading, writing by rename, deleting, and the one lock around choosing.

No second book: a claim exists as long as its file does. What is read is remembered by inode, size and times, so that a long-lived
process reads each file once.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .core.cdi_spec import CdiSpecError, claim_of, claim_of_first_line, to_text
from .core.claim import CLAIM_ID, Claim

_FILE = re.compile(r"ds01-(" + CLAIM_ID.pattern + r")\.json")
_TEMPORARY = re.compile(r"\.ds01-" + CLAIM_ID.pattern + r"\.\d+\.tmp")
_DEVICE = re.compile(r"\b(?:MIG|GPU)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


@dataclass(frozen=True)
class CorruptClaim:
    """A claim file that can't be read as one. ``devices`` are the GPU or MIG UUIDs that its text names: they stay taken."""

    id: str
    path: Path
    reason: str
    devices: frozenset[str]


@dataclass(frozen=True)
class Table:
    """All claims at one moment, by id, and the files that are none."""

    claims: tuple[Claim, ...]
    corrupt: tuple[CorruptClaim, ...] = ()

    @property
    def blocked(self) -> frozenset[str]:
        """UUIDs that corrupt files name and that must not be given away."""
        return frozenset(uuid for c in self.corrupt for uuid in c.devices)

    def get(self, claim_id: str) -> Claim | None:
        """The claim of that id, or None."""
        return next((c for c in self.claims if c.id == claim_id), None)


class ClaimStore:
    """Claims below ``directory``; whoever changes them holds ``lock()``, across processes and threads."""

    def __init__(self, directory: Path, lock_file: Path) -> None:
        self._directory = directory
        self._lock_file = lock_file
        self._seen: dict[str, tuple[tuple[int, ...], Claim | CorruptClaim]] = {}

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the one lock of all claims; waits for it. Each call opens the file anew, so that threads exclude each other too."""
        self._lock_file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def read(self) -> Table:
        """Every claim; a directory that does not exist yet holds none."""
        claims: list[Claim] = []
        corrupt: list[CorruptClaim] = []
        present: dict[str, tuple[tuple[int, ...], Claim | CorruptClaim]] = {}
        for name, stamp in self._files():
            known = self._seen.get(name)
            entry = known[1] if known is not None and known[0] == stamp else self._read_file(name)
            if entry is None:
                continue
            present[name] = (stamp, entry)
            if isinstance(entry, Claim):
                claims.append(entry)
            else:
                corrupt.append(entry)
        self._seen = present
        return Table(tuple(sorted(claims, key=lambda c: c.id)), tuple(sorted(corrupt, key=lambda c: c.id)))

    def spec(self, claim_id: str) -> dict[str, Any]:
        """The whole CDI spec of a claim; raises FileNotFoundError, or CdiSpecError when it is not one."""
        path = self.path(claim_id)
        try:
            spec = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CdiSpecError(f"{path}: not JSON ({error})") from error
        if not isinstance(spec, dict):
            raise CdiSpecError(f"{path}: expected an object")
        return spec

    def write(self, claim_id: str, spec: Mapping[str, Any]) -> None:
        """Publish a claim's spec: complete, on disk, and only then under its name. Call under ``lock()``."""
        self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        temporary = self._directory / f".ds01-{claim_id}.{os.getpid()}.tmp"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(to_text(spec))
                stream.flush()
                os.fchmod(stream.fileno(), 0o644)
                os.fsync(stream.fileno())
            os.rename(temporary, self.path(claim_id))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._sync_directory()

    def delete(self, claim_id: str) -> bool:
        """Remove a claim's spec: from here on no container starts with it. False when there was none. Call under ``lock()``."""
        try:
            os.unlink(self.path(claim_id))
        except FileNotFoundError:
            return False
        self._sync_directory()
        return True

    def sweep(self) -> list[str]:
        """Remove what a killed writer left half-written; returns the names. Call under ``lock()``, which is why nobody is writing."""
        if not self._directory.is_dir():
            return []
        left = sorted(e.name for e in os.scandir(self._directory) if _TEMPORARY.fullmatch(e.name))
        for name in left:
            (self._directory / name).unlink(missing_ok=True)
        return left

    def path(self, claim_id: str) -> Path:
        """The file of a claim; raises ValueError for what is no claim id, so that no id leads out of the directory."""
        if not CLAIM_ID.fullmatch(claim_id):
            raise ValueError(f"claim id {claim_id!r}: expected c and twelve hex digits")
        return self._directory / f"ds01-{claim_id}.json"

    def _files(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        try:
            entries = os.scandir(self._directory)
        except FileNotFoundError:
            return
        with entries:
            for entry in entries:
                if _FILE.fullmatch(entry.name):
                    try:
                        at = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    yield entry.name, (at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)

    def _read_file(self, name: str) -> Claim | CorruptClaim | None:
        """The claim in a file, what can be said of a corrupt one, or None when it is gone by now."""
        path = self._directory / name
        claim_id = name[len("ds01-") : -len(".json")]
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                first = stream.readline()
                try:
                    claim = claim_of_first_line(first)
                except CdiSpecError:
                    claim = self._claim_of_text(first + stream.read())
        except FileNotFoundError:
            return None
        except (OSError, CdiSpecError) as error:
            return CorruptClaim(claim_id, path, str(error), self._devices_named(path))
        if claim.id != claim_id:
            return CorruptClaim(claim_id, path, f"carries the claim {claim.id}", self._devices_named(path))
        return claim

    @staticmethod
    def _claim_of_text(text: str) -> Claim:
        try:
            spec = json.loads(text)
        except ValueError as error:
            raise CdiSpecError(f"not JSON ({error})") from error
        if not isinstance(spec, dict):
            raise CdiSpecError("not an object")
        return claim_of(spec)

    @staticmethod
    def _devices_named(path: Path) -> frozenset[str]:
        """The MIG UUIDs in the text, or if there is none the GPU UUIDs (the text of a claim on an instance names its GPU too)."""
        try:
            named = set(_DEVICE.findall(path.read_text(encoding="utf-8", errors="replace")))
        except OSError:
            return frozenset()
        return frozenset({n for n in named if n.startswith("MIG-")} or named)

    def _sync_directory(self) -> None:
        handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
