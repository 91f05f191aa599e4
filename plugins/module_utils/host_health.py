# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Asks the host how it is: systemd, file systems, the kernel's clock, HTTP on loopback. Every question is bounded in time."""

from __future__ import annotations

import ctypes
import json
import os
import stat
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Sequence
from typing import Any

from .core.health_host import DiskFacts, LogFacts
from .core.health_services import UnitFacts

WAIT_S = 5.0
_PROPERTIES = "Id,LoadState,ActiveState,Result,UnitFileState,ActiveEnterTimestampMonotonic,WatchdogUSec,NRestarts,DevicePolicy,DeviceAllow"
_TIME_ERROR = 5
_MOST_BYTES = 16 << 20


class NoAnswer(Exception):
    """Something did not answer, or not in time; the message says what and why."""


def output(*command: str, timeout: float = WAIT_S) -> str:
    """Standard output of a command. Raises NoAnswer when it fails or takes too long."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=timeout, env=environment, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{command[0]} did not end within {timeout:.0f} s") from None
    except OSError as error:
        raise NoAnswer(f"{command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NoAnswer(f"{os.path.basename(command[0])}: {said[-1] if said else f'exit status {done.returncode}'}")
    return done.stdout


def units(names: Sequence[str]) -> dict[str, UnitFacts]:
    """Facts by name, in one call; a unit that systemd does not know is not loaded. Raises NoAnswer."""
    if not names:
        return {}
    text = output("systemctl", "--no-pager", "show", f"--property={_PROPERTIES}", "--", *names)
    boot = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
    return {name: _unit(name, block, boot) for name, block in zip(names, text.strip("\n").split("\n\n"), strict=True)}


def _unit(name: str, block: str, boot: float) -> UnitFacts:
    values: dict[str, str] = {}
    for line in block.splitlines():
        key, _, value = line.partition("=")
        values[key] = f"{values[key]}\n{value}" if key in values else value
    entered = int(values.get("ActiveEnterTimestampMonotonic") or 0)
    active = values.get("ActiveState", "inactive")
    return UnitFacts(
        name=name,
        loaded=values.get("LoadState") in ("loaded", "masked"),
        active=active,
        result=values.get("Result", "success"),
        since=boot + entered / 1e6 if entered and active == "active" else None,
        watchdog_s=_watchdog(values.get("WatchdogUSec", "0")),
        restarts=int(values.get("NRestarts") or 0),
        enabled=values.get("UnitFileState", ""),
        device_policy=values.get("DevicePolicy", ""),
        device_allow=values.get("DeviceAllow", ""),
    )


def _watchdog(text: str) -> float:
    """systemd prints a time span (``1min 30s``) or ``0``; that there is one is what matters."""
    return 0.0 if text in ("0", "infinity", "") else 1.0


def unit_names(*arguments: str) -> list[str]:
    """The first column of ``systemctl list-units`` with these arguments. Raises NoAnswer."""
    text = output("systemctl", "list-units", "--no-legend", "--no-pager", "--plain", *arguments)
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def file_systems(paths: Iterable[str]) -> list[DiskFacts]:
    """The file systems below these paths, each once; a path that is not there is left out."""
    seen: set[int] = set()
    found = []
    for path in paths:
        try:
            device, facts = os.stat(path).st_dev, os.statvfs(path)
        except OSError:
            continue
        if device in seen:
            continue
        seen.add(device)
        found.append(
            DiskFacts(
                path,
                facts.f_blocks * facts.f_frsize,
                facts.f_bavail * facts.f_frsize,
                facts.f_files,
                facts.f_favail,
                bool(facts.f_flag & os.ST_RDONLY),
            )
        )
    return found


def clock_synchronised() -> bool | None:
    """The kernel's word (adjtimex(2) with nothing to set); None when there is none."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        state: int = libc.adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def event_log(path: str, unwritten: int | None, owner: int = 0) -> LogFacts:
    """The log: whether it could be appended to, and whose it is; ``owner`` is root's uid."""
    directory = os.path.dirname(path)
    try:
        above = os.stat(directory)
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            return LogFacts(path, error="its file system is read-only")
        try:
            facts = os.lstat(path)
        except FileNotFoundError:
            return LogFacts(path, mode=0o640, directory_mode=above.st_mode, unwritten=unwritten)
    except OSError as error:
        return LogFacts(path, error=str(error.strerror))
    if not stat.S_ISREG(facts.st_mode):
        return LogFacts(path, error="is no regular file")
    return LogFacts(path, None, facts.st_mode, {facts.st_uid, above.st_uid} == {owner}, above.st_mode, unwritten)


def fetch(url: str, timeout: float = WAIT_S) -> bytes:
    """What loopback answers. Raises NoAnswer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as answer:
            data: bytes = answer.read(_MOST_BYTES)
            return data
    except (OSError, ValueError) as error:
        raise NoAnswer(str(getattr(error, "reason", error))) from None


def fetch_json(url: str) -> Any:
    """The same as data. Raises NoAnswer."""
    try:
        return json.loads(fetch(url))
    except ValueError as error:
        raise NoAnswer(f"{url}: not JSON ({error})") from None
