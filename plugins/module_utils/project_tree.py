# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Puts directories of people into projects, so that the filesystem counts what lies below them: whoever owns it, and whatever comes later.

Their owners change these trees meanwhile, and do it on purpose. Everything is opened by its parent's handle without following links,
nothing but directories and regular files of the same filesystem is touched, nothing blocks, and depth is bounded.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

DEPTH = 200
"""Directories deeper than this are left out: a handle is held for each level."""
_GET, _SET = 0x801C581F, 0x401C5820  # FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR of include/uapi/linux/fs.h
_FSXATTR = struct.Struct("=5I8x")
_INHERIT = 0x200  # FS_XFLAG_PROJINHERIT
_DONE = "trusted.ds01.project"  # only the host's root can write it; root of a container can't
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class NotTheirs(Exception):
    """The directory is gone, is a link, or belongs to somebody else by now."""


@dataclass
class Labelled:
    """What one walk did: entries put into the project, and those that could not be (held open by a lease, immutable, too deep)."""

    changed: int = 0
    skipped: int = 0


def owned(root: str) -> dict[str, int]:
    """The directories right below a root that belong to somebody but root: name → uid. Links don't count. Raises OSError."""
    found = {}
    with os.scandir(root) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                about = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(about.st_mode) and about.st_uid != 0:
                    found[entry.name] = about.st_uid
    return found


def begin(root: str, name: str, uid: int, project: int) -> bool:
    """Put the directory itself into the project, so that what is made in it from now on is counted.

    True: what is in it is still to be done. Raises NotTheirs, OSError.
    """
    with _tree(root, name, uid) as handle:
        _assign(handle, project, directory=True)
        return not _is_done(handle, project)


def is_labelled(root: str, name: str, uid: int, project: int) -> bool:
    """Whether the directory is in the project and everything below it was put there once. Raises NotTheirs, OSError."""
    with _tree(root, name, uid) as handle:
        flags, present = _read(handle)
        return present == project and bool(flags & _INHERIT) and _is_done(handle, project)


def finish(root: str, name: str, uid: int, project: int) -> Labelled:
    """Put everything below the directory into the project, and note that it was done. Raises NotTheirs, OSError."""
    done = Labelled()
    with _tree(root, name, uid) as handle:
        done.changed += _assign(handle, project, directory=True)
        _below(handle, project, done)
        os.setxattr(handle, _DONE, str(project).encode())
    return done


def project_of_file(path: str) -> int:
    """The project of a directory or regular file, 0 for none. Raises OSError."""
    handle = os.open(path, _FILE)
    try:
        return _read(handle)[1]
    finally:
        os.close(handle)


@contextmanager
def _tree(root: str, name: str, uid: int) -> Iterator[int]:
    above = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            handle = os.open(name, _DIRECTORY, dir_fd=above)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotTheirs(f"{root}/{name}: is gone or no directory any more") from error
        except OSError as error:
            raise NotTheirs(f"{root}/{name}: {error.strerror}") from error
    finally:
        os.close(above)
    try:
        if os.fstat(handle).st_uid != uid:
            raise NotTheirs(f"{root}/{name}: belongs to uid {os.fstat(handle).st_uid}, not to {uid}")
        yield handle
    finally:
        os.close(handle)


def _below(top: int, project: int, done: Labelled) -> None:
    """Walk without recursion; the handles of the directories on the way down are held, so that nobody can move them away underneath."""
    device = os.fstat(top).st_dev
    stack: list[tuple[int, Iterator[os.DirEntry[str]]]] = []
    try:
        stack.append((os.dup(top), iter(os.scandir(top))))
        while stack:
            parent, entries = stack[-1]
            entry = next(entries, None)
            if entry is None:
                stack.pop()
                os.close(parent)
                continue
            handle = _open(entry, parent, device, done)
            if handle is None:
                continue
            is_directory = stat.S_ISDIR(os.fstat(handle).st_mode)
            try:
                done.changed += _assign(handle, project, directory=is_directory)
            except OSError:
                done.skipped += 1
            if is_directory and len(stack) < DEPTH:
                stack.append((handle, iter(os.scandir(handle))))
                continue
            done.skipped += is_directory
            os.close(handle)
    finally:
        for handle, _ in stack:
            os.close(handle)


def _open(entry: os.DirEntry[str], parent: int, device: int, done: Labelled) -> int | None:
    """A handle on a directory or regular file of this filesystem; None for everything else, which holds no data to speak of."""
    try:
        if entry.is_dir(follow_symlinks=False):
            handle = os.open(entry.name, _DIRECTORY, dir_fd=parent)
        elif entry.is_file(follow_symlinks=False):
            handle = os.open(entry.name, _FILE, dir_fd=parent)
        else:
            return None
    except FileNotFoundError:
        return None
    except OSError:
        done.skipped += 1
        return None
    about = os.fstat(handle)
    if about.st_dev == device and (stat.S_ISDIR(about.st_mode) or stat.S_ISREG(about.st_mode)):
        return handle
    os.close(handle)
    return None


def _read(handle: int) -> tuple[int, int]:
    flags, _, _, project, _ = _FSXATTR.unpack(fcntl.ioctl(handle, _GET, bytes(_FSXATTR.size)))
    return flags, project


def _assign(handle: int, project: int, *, directory: bool) -> int:
    flags, extent, extents, present, cow = _FSXATTR.unpack(fcntl.ioctl(handle, _GET, bytes(_FSXATTR.size)))
    wanted = flags | _INHERIT if directory else flags
    if (wanted, project) == (flags, present):
        return 0
    fcntl.ioctl(handle, _SET, _FSXATTR.pack(wanted, extent, extents, project, cow))
    return 1


def _is_done(handle: int, project: int) -> bool:
    try:
        return os.getxattr(handle, _DONE) == str(project).encode()
    except OSError:
        return False
