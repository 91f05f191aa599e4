# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Who is at the other end of a unix socket: SO_PEERCRED, the pid namespace of the peer, and the user database.

A process in a container that got hold of the socket can take any uid there, so a uid counts only when the peer lives in our own pid
namespace, or in a namespace below the same person's login (``user-<uid>.slice``), as sandboxes of desktop programs and editors do.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

SO_PEERPIDFD = 77
_CACHE_SECONDS = 30.0
_LOGIN_SLICE = re.compile(r"/user\.slice/user-(\d+)\.slice(?:/|$)")


@dataclass(frozen=True)
class Peer:
    """The kernel's word on a peer. ``local``: the uid means on this host what it says."""

    pid: int
    uid: int
    gid: int
    local: bool
    command: str


@dataclass(frozen=True)
class Account:
    """An entry of the user database: name, primary gid, and all groups as (name, gid)."""

    name: str
    gid: int
    groups: tuple[tuple[str, int], ...]


def _namespace(pid: int | str) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return None


def _logged_in_as(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/cgroup", encoding="ascii", errors="replace") as stream:
            found = _LOGIN_SLICE.search(stream.read())
    except OSError:
        return None
    return int(found.group(1)) if found else None


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def _still_alive(connection: socket.socket, pid: int) -> bool:
    """Whether the peer itself (not a later process with its pid) is alive: asked of its pidfd where the kernel gives one (Linux 6.5)."""
    try:
        pidfd = connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError:
        return os.path.exists(f"/proc/{pid}")
    try:
        with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as stream:
            return any(line.split()[1] == str(pid) for line in stream if line.startswith("Pid:"))
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            os.close(pidfd)


def peer_of(connection: socket.socket) -> Peer:
    """The peer of a connected unix socket. What cannot be established, because the peer has already ended, counts as not local."""
    pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if pid <= 0:
        return Peer(pid, uid, gid, False, "")
    local = _namespace(pid) == _namespace("self") or (uid != 0 and _logged_in_as(pid) == uid)
    command = _command(pid)
    return Peer(pid, uid, gid, local and _still_alive(connection, pid), command)


class Accounts:
    """The user database, remembered for half a minute: a directory service may take its time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[int, tuple[float, Account | None]] = {}
        self._lock = threading.Lock()

    def find(self, uid: int) -> Account | None:
        """The account with that uid, or None."""
        now = self._clock()
        with self._lock:
            entry = self._known.get(uid)
        if entry is not None and now - entry[0] < _CACHE_SECONDS:
            return entry[1]
        account = _look_up(uid)
        with self._lock:
            self._known[uid] = (now, account)
        return account

    def forget(self) -> None:
        """Look everybody up anew."""
        with self._lock:
            self._known.clear()


def _look_up(uid: int) -> Account | None:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return None
    groups = []
    for gid in os.getgrouplist(entry.pw_name, entry.pw_gid):
        try:
            groups.append((grp.getgrgid(gid).gr_name, gid))
        except KeyError:
            groups.append((str(gid), gid))
    return Account(entry.pw_name, entry.pw_gid, tuple(groups))
