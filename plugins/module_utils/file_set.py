# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A set of files, directories and links as they ought to be: what differs, and how it is made so.

``plan`` reads and compares, ``apply`` writes. Files are written beside their place, synced and renamed, so that a reader sees the old
one or the new one. Nothing is written below a directory that somebody else than root (or the caller) could change.
"""

from __future__ import annotations

import contextlib
import grp
import hashlib
import os
import pwd
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass

FILE, DIRECTORY, LINK, ABSENT = "file", "directory", "link", "absent"
PARENT_MODE = 0o755


class FileSetError(Exception):
    """Raised where a path can't be made what it ought to be; the message names the path and says what would be right."""


@dataclass(frozen=True)
class DesiredEntry:
    """One path. ``content`` None leaves the content of a file alone; ``target`` is a link's. ``sensitive`` keeps content out of diffs."""

    path: str
    state: str = FILE
    content: bytes | None = None
    target: str | None = None
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    sensitive: bool = False


@dataclass(frozen=True)
class Attributes:
    """What stands at a path. ``uid`` and ``gid`` are None for a desired owner or group that does not exist yet."""

    kind: str
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    content: bytes | None = None
    target: str | None = None

    @property
    def checksum(self) -> str | None:
        """SHA-256 of the content, in hexadecimal."""
        return None if self.content is None else hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Change:
    """A path whose state differs. ``action`` says in words what is done."""

    entry: DesiredEntry
    before: Attributes
    after: Attributes
    action: str

    @property
    def writes_content(self) -> bool:
        """Whether the content of a file is written."""
        return self.after.kind == FILE and self.before.content != self.after.content


def read_attributes(path: str, *, with_content: bool = True) -> Attributes:
    """What stands at the path now, links not followed."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Attributes(ABSENT)
    mode, uid, gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
    if stat.S_ISLNK(status.st_mode):
        return Attributes(LINK, None, uid, gid, target=os.readlink(path))
    if stat.S_ISDIR(status.st_mode):
        return Attributes(DIRECTORY, mode, uid, gid)
    if not stat.S_ISREG(status.st_mode):
        raise FileSetError(f"{path}: is neither a regular file nor a directory nor a link; remove it first")
    content = None
    if with_content:
        with open(path, "rb") as stream:
            content = stream.read()
    return Attributes(FILE, mode, uid, gid, content)


def _numeric_id(name: str, *, group: bool, path: str, may_be_missing: bool) -> int | None:
    if name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid if group else pwd.getpwnam(name).pw_uid
    except KeyError:
        if may_be_missing:
            return None
        what = "group" if group else "user"
        raise FileSetError(f"{path}: {what} {name!r} does not exist; create it before the files that belong to it") from None


def refuse_unsafe_parents(path: str) -> None:
    """Raises FileSetError when somebody else than root or the caller could put another thing at a directory above the path."""
    trusted = {0, os.geteuid()}
    parent = os.path.dirname(path)
    while True:
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(parent)
            if status.st_uid not in trusted:
                raise FileSetError(f"{path}: {parent} belongs to uid {status.st_uid}; files are only written below directories of root")
            if stat.S_ISDIR(status.st_mode) and status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
                raise FileSetError(f"{path}: {parent} is writable by others (mode {stat.S_IMODE(status.st_mode):04o}); make it 0755")
        if parent == "/":
            return
        parent = os.path.dirname(parent)


def _desired(entry: DesiredEntry, before: Attributes, *, may_be_missing: bool) -> Attributes:
    if entry.state == ABSENT:
        return Attributes(ABSENT)
    uid = _numeric_id(entry.owner, group=False, path=entry.path, may_be_missing=may_be_missing)
    gid = _numeric_id(entry.group, group=True, path=entry.path, may_be_missing=may_be_missing)
    if entry.state == LINK:
        return Attributes(LINK, None, uid, gid, target=entry.target)
    if entry.state == DIRECTORY:
        return Attributes(DIRECTORY, entry.mode, uid, gid)
    content = before.content if entry.content is None else entry.content
    return Attributes(FILE, entry.mode, uid, gid, content)


def _refuse_conflicts(entry: DesiredEntry, before: Attributes, *, may_be_missing: bool) -> None:
    if before.kind == ABSENT:
        if entry.state == FILE and entry.content is None and not may_be_missing:
            raise FileSetError(f"{entry.path}: does not exist and no content is given; give content, or let what makes it run first")
        return
    if entry.state == ABSENT:
        if before.kind == DIRECTORY and os.listdir(entry.path):
            raise FileSetError(f"{entry.path}: is a directory that is not empty; it is not removed with what is in it")
        return
    replaceable = {before.kind, LINK} if before.kind == LINK else {before.kind}
    if entry.state not in replaceable and not (before.kind == LINK and entry.state == FILE):
        raise FileSetError(f"{entry.path}: is a {before.kind} and ought to be a {entry.state}; move it away first")


def _action(entry: DesiredEntry, before: Attributes, after: Attributes) -> str | None:
    path = entry.path
    if after.kind == ABSENT:
        return None if before.kind == ABSENT else f"remove {path}"
    if before.kind != after.kind:
        return f"link {path} to {after.target}" if after.kind == LINK else f"create {path}"
    if after.kind == LINK:
        return None if before.target == after.target else f"link {path} to {after.target}"
    if before.content != after.content:
        return f"write {path}"
    parts = []
    if before.mode != after.mode:
        parts.append(f"mode {before.mode or 0:04o} to {after.mode or 0:04o}")
    if (before.uid, before.gid) != (after.uid, after.gid):
        parts.append(f"owner to {entry.owner}:{entry.group}")
    return f"set {' and '.join(parts)} on {path}" if parts else None


def plan(entries: Iterable[DesiredEntry], *, may_be_missing: bool = False) -> list[Change]:
    """What has to change, directories first and removals last; refuses the whole set when one entry can't be had.

    ``may_be_missing`` is for a prediction: owners, groups and files that something else would make first do not have to exist yet.
    """
    entries = list(entries)
    seen: set[str] = set()
    for entry in entries:
        if not entry.path.startswith("/") or os.path.normpath(entry.path) != entry.path:
            raise FileSetError(f"{entry.path!r}: must be an absolute path without '.', '..' and a slash at its end")
        if entry.path in seen:
            raise FileSetError(f"{entry.path}: is listed twice")
        seen.add(entry.path)
    order = {DIRECTORY: 0, FILE: 1, LINK: 1, ABSENT: 2}
    changes = []
    for entry in sorted(entries, key=lambda e: (order[e.state], e.path if e.state != ABSENT else "", -e.path.count("/"))):
        refuse_unsafe_parents(entry.path)
        before = read_attributes(entry.path)
        _refuse_conflicts(entry, before, may_be_missing=may_be_missing)
        after = _desired(entry, before, may_be_missing=may_be_missing)
        action = _action(entry, before, after)
        if action is not None:
            changes.append(Change(entry, before, after, action))
    return changes


def missing_parents(changes: Iterable[Change]) -> list[str]:
    """Directories above the changed paths that nobody lists and that do not exist; outermost first. They become root's, mode 0755."""
    changes = list(changes)
    listed = {change.entry.path for change in changes if change.after.kind == DIRECTORY}
    missing: set[str] = set()
    for change in changes:
        if change.after.kind == ABSENT:
            continue
        parent = os.path.dirname(change.entry.path)
        while parent not in listed and parent != "/" and not os.path.lexists(parent):
            missing.add(parent)
            parent = os.path.dirname(parent)
    return sorted(missing)


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: str, content: bytes, mode: int, uid: int, gid: int) -> None:
    """Puts the content at the path by rename: whoever reads sees the old file or the whole new one, also after a power cut."""
    directory = os.path.dirname(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchown(stream.fileno(), uid, gid)
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_directory(directory)


def link_atomically(path: str, target: str) -> None:
    """Makes the path a symbolic link to the target; there is no moment without one."""
    directory = os.path.dirname(path)
    temporary = tempfile.mkdtemp(prefix=f".{os.path.basename(path)}.", dir=directory)
    try:
        staged = os.path.join(temporary, "link")
        os.symlink(target, staged)
        os.rename(staged, path)
    finally:
        os.rmdir(temporary)
    _sync_directory(directory)


def apply(changes: Iterable[Change]) -> None:
    """Makes every change, in the order of the plan."""
    changes = list(changes)
    made = set(missing_parents(changes))
    for change in changes:
        for parent in sorted(made):
            if change.entry.path.startswith(parent + "/"):
                os.mkdir(parent, PARENT_MODE)
                os.chmod(parent, PARENT_MODE)
                made.discard(parent)
        _apply_one(change)


def _apply_one(change: Change) -> None:
    path, before, after = change.entry.path, change.before, change.after
    if after.kind == ABSENT:
        if before.kind == DIRECTORY:
            os.rmdir(path)
        else:
            os.unlink(path)
        return
    if after.kind == LINK:
        link_atomically(path, after.target or "")
        return
    if after.uid is None or after.gid is None or after.mode is None:
        raise FileSetError(f"{path}: owner, group and mode must be known before it is made")
    if change.writes_content:
        write_atomically(path, after.content or b"", after.mode, after.uid, after.gid)
        return
    if before.kind == ABSENT:
        os.mkdir(path, 0o700)
    os.chown(path, after.uid, after.gid, follow_symlinks=False)
    os.chmod(path, after.mode)
