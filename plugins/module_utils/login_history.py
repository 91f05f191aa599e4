# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Reads logins from the journal and started programs from the audit log, as streams: a busy day is never in memory at once."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .core.login_records import LOGIND, SESSION_BEGAN, SESSION_ENDED, SSHD, SWITCHERS, Record, from_audit, from_journal
from .core.login_summary import Summary, summarise

AUDIT_LOGS = Path("/var/log/audit")
JOURNALCTL = "journalctl"
_FIELDS = "MESSAGE,MESSAGE_ID,USER_ID,SESSION_ID,_UID,_COMM,_EXE,_SYSTEMD_UNIT,_AUDIT_LOGINUID"
_LONGEST = 64 * 1024


def history(since: float, until: float, *, only: str | None = None, journalctl: str = JOURNALCTL, audit_logs: Path = AUDIT_LOGS) -> Summary:
    """What happened from ``since`` up to ``until``, seconds since the epoch. What can't be read is among the summary's problems."""
    problems: list[str] = []

    def records() -> Iterator[Record]:
        yield from journal(since, until, journalctl, problems)
        yield from audit(since, audit_logs, problems)

    summary = summarise(records(), since, until, _Names(), only)
    summary.problems += problems
    return summary


def journal(since: float, until: float, journalctl: str, problems: list[str]) -> Iterator[Record]:
    """Logins, sessions, sudo: whatever of the journal is a record."""
    matches = [f"_SYSTEMD_UNIT={LOGIND}", f"MESSAGE_ID={SESSION_BEGAN}", f"MESSAGE_ID={SESSION_ENDED}"]
    matches += ["+", "_UID=0", *(f"_COMM={name}" for name in SSHD)]
    matches += ["+", *(f"_EXE={path}" for path in SWITCHERS)]
    options = ["--output=json", f"--output-fields={_FIELDS}", "--quiet", "--no-pager", "--utc"]
    options += [f"--since=@{int(since)}", f"--until=@{int(until) + 1}"]
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen([journalctl, *options, *matches], stdout=subprocess.PIPE, stderr=said)
        except OSError as error:
            problems.append(f"the journal: {error}")
            return
        with process:
            for line in process.stdout or ():
                record = _entry(line)
                if record is not None:
                    yield record
        if process.returncode != 0:
            said.seek(0)
            words = said.read(_LONGEST).decode("utf-8", "replace").strip()
            problems.append(f"the journal: {words or f'journalctl ended with {process.returncode}'}")


def _entry(line: bytes) -> Record | None:
    try:
        entry = json.loads(line) if len(line) <= _LONGEST else None
    except (ValueError, RecursionError):
        return None
    return from_journal(entry) if isinstance(entry, dict) else None


def audit(since: float, directory: Path, problems: list[str]) -> Iterator[Record]:
    """Started programs, oldest file first; files that were last written before ``since`` are not opened."""
    try:
        found = [(e.stat().st_mtime, e.path) for e in os.scandir(directory) if e.name.startswith("audit.log")]
    except OSError as error:
        problems.append(f"started programs: {directory}: {error.strerror}")
        return
    for _, path in sorted(entry for entry in found if entry[0] >= since):
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                while line := stream.readline(_LONGEST):
                    record = from_audit(line)
                    if record is not None:
                        yield record
        except FileNotFoundError:
            continue  # rotated away meanwhile; its lines are in the next file, which is read too
        except OSError as error:
            problems.append(f"started programs: {path}: {error.strerror}")


class _Names(dict[str, str]):
    """uid in digits → name, asked of the user database once for each."""

    def get(self, key: str, default: str | None = None) -> str:  # type: ignore[override]
        """The name; what is no uid, and a uid that nobody has, is itself."""
        if key not in self:
            try:
                self[key] = pwd.getpwuid(int(key)).pw_name if key.isdigit() else key
            except (KeyError, OverflowError):
                self[key] = key
        return self[key]
