# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Reads and writes files in a running container through /proc/PID/root, where every name is its owner's choice.

No symbolic link is followed and ``..`` is refused, one directory at a time from the container's root, so nothing outside can be reached.
The process is held by its /proc directory, which the kernel never hands to another process: that it is the container's is looked at after
its root was opened. Files are made anew and put in place by rename; what lies there (a link, a pipe, a hard link) is never opened.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from .core.cgroup_path import path_of, place

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotInContainer(OSError):
    """The process has ended, or is not (any more) one of the container's."""


@dataclass(frozen=True)
class FileTimes:
    """Of a file, in seconds since the epoch: ``mtime`` is what its owner says, ``ctime`` what the kernel says."""

    mtime: float
    ctime: float


@contextlib.contextmanager
def container_root(pid: int, container_id: str, proc: str = "/proc") -> Iterator[int]:
    """A descriptor of the container's root directory; raises NotInContainer, or OSError."""
    process = os.open(f"{proc}/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        root = os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=process)
        try:
            cgroup = os.open("cgroup", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
            try:
                text = os.read(cgroup, 65536).decode("utf-8", "replace")
            finally:
                os.close(cgroup)
            if place(path_of(text)).container_id != container_id:
                raise NotInContainer(3, f"pid {pid} is not a process of container {container_id[:12]}")
            yield root
        finally:
            os.close(root)
    finally:
        os.close(process)


@contextlib.contextmanager
def _below(root: int, names: list[str]) -> Iterator[int]:
    """The directory at ``names`` below ``root``; raises OSError (ENOTDIR, ELOOP) at a symbolic link."""
    here = os.dup(root)
    try:
        for name in names:
            there = os.open(name, _DIRECTORY, dir_fd=here)
            os.close(here)
            here = there
        yield here
    finally:
        os.close(here)


def _parts(path: str) -> list[str]:
    names = [name for name in path.split("/") if name not in ("", ".")]
    if not names or ".." in names or "\0" in path:
        raise ValueError(f"{path!r}: expected an absolute path without '..'")
    return names


def times(root: int, path: str) -> FileTimes | None:
    """The times of the file at ``path``; None where there is none, where a link stands in the way, or for a path that is none."""
    try:
        *directory, name = _parts(path)
        with _below(root, directory) as parent:
            about = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except (OSError, ValueError):
        return None
    return FileTimes(about.st_mtime, about.st_ctime)


def write(root: int, path: str, content: bytes, mode: int = 0o644) -> None:
    """Put ``content`` at ``path``, in place of whatever file or link is there. Its directory must exist. Raises OSError, ValueError."""
    *directory, name = _parts(path)
    with _below(root, directory) as parent:
        # Names can be looked up below an O_PATH descriptor, but not every filesystem makes files below one.
        place_fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        temporary = f".{name}.{secrets.token_hex(6)}"
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=place_fd)
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(content)
                    os.fchmod(stream.fileno(), mode)
                os.rename(temporary, name, src_dir_fd=place_fd, dst_dir_fd=place_fd)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=place_fd)
                raise
        finally:
            os.close(place_fd)
