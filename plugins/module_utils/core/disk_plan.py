# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Disk quotas of people: what a filesystem can count, which limits ought to stand, and how full somebody is.

Two counters hold one person to one limit, because each alone has a way around. The *user* quota counts what belongs to their uid, wherever
it lies; it misses what root writes into a bind mount from inside a container. The *project* quota counts what lies below their directories,
whoever owns it; the owner of a file on the host may move it to another project. Sizes are bytes; the kernel keeps limits in blocks of 1024.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

BLOCK = 1024
PROJECT_BASE = 2_000_000_000
LARGEST_UID = 2**32 - 2 - PROJECT_BASE
"""A project id is 32 bits wide. Docker counts its own up from the data root's, far below the base."""


class Kind(Enum):
    """Whose use a quota counts: a uid's files, or those below directories of one project. Values are those of quotactl(2)."""

    USER = 0
    PROJECT = 2


@dataclass(frozen=True)
class DiskUse:
    """Of somebody on the filesystem where they are closest to the limit; ``limit_bytes`` None: without limit."""

    used_bytes: int
    limit_bytes: int | None
    directory: str = ""


@dataclass(frozen=True)
class Quota:
    """What the kernel has for one id: bytes in use, and the hard limit in bytes (None: none)."""

    used_bytes: int
    limit_bytes: int | None


@dataclass(frozen=True)
class Root:
    """A directory whose subdirectories belong to people, and what its filesystem counts and enforces."""

    directory: str
    fstype: str
    enforced: frozenset[Kind]
    why_not: str = ""

    @property
    def says(self) -> str:
        """In words: what holds there, or what would have to be done."""
        if self.enforced:
            return " and ".join(sorted(kind.name.lower() for kind in self.enforced)) + " quotas"
        return self.why_not


@dataclass(frozen=True)
class Step:
    """One limit that has to change. ``before`` and ``after`` are bytes or None."""

    directory: str
    kind: Kind
    uid: int
    before: int | None
    after: int | None

    @property
    def words(self) -> str:
        """For a report."""
        after = "no limit" if self.after is None else f"{self.after} bytes"
        return f"{self.directory}: hold uid {self.uid} to {after} ({self.kind.name.lower()} quota)"


def project_of(uid: int) -> int:
    """The project that counts a person's directories. Raises ValueError for a uid that has none."""
    if not 0 < uid <= LARGEST_UID:
        raise ValueError(f"uid {uid}: has no project id; expected 1 to {LARGEST_UID}")
    return PROJECT_BASE + uid


def id_of(kind: Kind, uid: int) -> int:
    """The id under which a kind of quota counts a person."""
    return uid if kind is Kind.USER else project_of(uid)


def rounded(limit: int | None) -> int | None:
    """The limit as the kernel can keep it: whole blocks, at least one, because none means without limit."""
    return None if limit is None else max(BLOCK, limit // BLOCK * BLOCK)


def plan(limits: Mapping[int, int | None], root: Root, present: Mapping[tuple[Kind, int], Quota]) -> tuple[Step, ...]:
    """The limits that have to change on one root's filesystem.

    ``limits``: bytes or None by uid, of everybody whose limits are known; nobody else's limit is touched, because a directory service
    that is away must not set its people free. ``present``: what the kernel has, by kind and uid.
    """
    steps = []
    for kind in sorted(root.enforced, key=lambda k: k.value):
        for uid in sorted(u for u in limits if 0 < u <= LARGEST_UID):
            quota = present.get((kind, uid))
            before = None if quota is None else quota.limit_bytes
            after = rounded(limits[uid])
            if before != after:
                steps.append(Step(root.directory, kind, uid, before, after))
    return tuple(steps)


def fullest(quotas: Iterable[tuple[str, Quota]]) -> DiskUse | None:
    """Of a person's quotas by directory, the one closest to its limit; one without a limit counts only where none has one."""

    def fullness(use: DiskUse) -> tuple[bool, float]:
        return use.limit_bytes is not None, use.used_bytes / use.limit_bytes if use.limit_bytes else float(use.used_bytes)

    return max((DiskUse(q.used_bytes, q.limit_bytes, directory) for directory, q in quotas), key=fullness, default=None)


def why_not(fstype: str) -> str:
    """What has to be done before a filesystem without quotas can hold people to limits."""
    if fstype == "xfs":
        return (
            "mounted without quotas: add uquota,pquota to its options in /etc/fstab and mount it anew "
            "(a remount is not enough; the root filesystem takes rootflags=uquota,pquota)"
        )
    if fstype == "ext4":
        return "quotas are off: tune2fs -O quota,project while it is not mounted, then mount it with usrquota,prjquota"
    return f"{fstype} has no quotas that can be set here; keep homes on XFS or ext4"
