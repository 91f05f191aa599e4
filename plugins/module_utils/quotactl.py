# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Disk quotas in the kernel, by quotactl_fd(2): the same calls for XFS and ext4, addressed by a directory instead of a device.

Needs Linux 5.14. Reading one's own user quota needs no rights; everything else is root's.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from .core.disk_plan import BLOCK, Kind, Quota

_QUOTACTL_FD = 443  # the same on every architecture (include/uapi/asm-generic/unistd.h)
_Q_GETQUOTA, _Q_SETQUOTA = 0x800007, 0x800008
_Q_XGETQSTATV = (ord("X") << 8) + 8
_QIF_BLIMITS = 1
_STATV_VERSION = 1
# qs_flags of include/uapi/linux/dqblk_xfs.h; only what is enforced counts as a limit.
_ENFORCED = {Kind.USER: 1 << 1, Kind.PROJECT: 1 << 5}
_NONE_KEPT = (errno.ESRCH, errno.ENOENT)
_NO_QUOTAS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.ESRCH, errno.ENODEV)


class _DqBlk(ctypes.Structure):
    """struct if_dqblk of include/uapi/linux/quota.h."""

    _fields_ = [
        ("bhardlimit", ctypes.c_uint64),
        ("bsoftlimit", ctypes.c_uint64),
        ("curspace", ctypes.c_uint64),
        ("ihardlimit", ctypes.c_uint64),
        ("isoftlimit", ctypes.c_uint64),
        ("curinodes", ctypes.c_uint64),
        ("btime", ctypes.c_uint64),
        ("itime", ctypes.c_uint64),
        ("valid", ctypes.c_uint32),
    ]


class _StatV(ctypes.Structure):
    """struct fs_quota_statv of include/uapi/linux/dqblk_xfs.h; of its tail only the size matters."""

    _fields_ = [
        ("version", ctypes.c_int8),
        ("pad", ctypes.c_uint8),
        ("flags", ctypes.c_uint16),
        ("rest", ctypes.c_uint8 * 156),
    ]


class Quotas(Protocol):
    """What disk quotas of a filesystem are asked for, by any directory on it."""

    def enforced(self, directory: str) -> frozenset[Kind]:
        """The kinds of quota that are on and hold people to limits; none where the filesystem has no quotas. Raises OSError."""

    def get(self, directory: str, kind: Kind, number: int) -> Quota:
        """Use and limit of an id. Raises OSError (EPERM, EACCES: not for the caller to know)."""

    def set(self, directory: str, kind: Kind, number: int, limit_bytes: int | None) -> None:
        """Set the hard limit of an id. Raises OSError."""


class KernelQuotas:
    """``Quotas`` of this host."""

    def __init__(self) -> None:
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long

    def enforced(self, directory: str) -> frozenset[Kind]:
        """See ``Quotas``."""
        state = _StatV(version=_STATV_VERSION)
        try:
            self._call(directory, _Q_XGETQSTATV, Kind.USER, 0, state)
        except OSError as error:
            if error.errno in _NO_QUOTAS:
                return frozenset()
            raise
        return frozenset(kind for kind, flag in _ENFORCED.items() if state.flags & flag)

    def get(self, directory: str, kind: Kind, number: int) -> Quota:
        """See ``Quotas``. An id that the filesystem has never met uses nothing."""
        block = _DqBlk()
        try:
            self._call(directory, _Q_GETQUOTA, kind, number, block)
        except OSError as error:
            if error.errno in _NONE_KEPT:
                return Quota(0, None)
            raise
        return Quota(int(block.curspace), int(block.bhardlimit) * BLOCK or None)

    def set(self, directory: str, kind: Kind, number: int, limit_bytes: int | None) -> None:
        """See ``Quotas``. There is no soft limit: it would end in a grace time that nobody was told of."""
        blocks = 0 if limit_bytes is None else max(1, limit_bytes // BLOCK)
        self._call(directory, _Q_SETQUOTA, kind, number, _DqBlk(bhardlimit=blocks, bsoftlimit=0, valid=_QIF_BLIMITS))

    def _call(self, directory: str, command: int, kind: Kind, number: int, block: ctypes.Structure) -> None:
        with _opened(directory) as handle:
            result = self._syscall(
                ctypes.c_long(_QUOTACTL_FD),
                ctypes.c_uint(handle),
                ctypes.c_uint(command << 8 | kind.value),
                ctypes.c_uint(number),
                ctypes.byref(block),
            )
        if result != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), directory)


@contextmanager
def _opened(directory: str) -> Iterator[int]:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)
