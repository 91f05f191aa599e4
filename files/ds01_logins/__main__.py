# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The command ``ds01-logins``, run by its timer as root: the summary of the last whole day (UTC), or of ``--day``.

It is printed (so it stands in the journal), kept below ``/var/log/ds01/logins``, and mailed where mail is set up.
Exit codes: 0 done, 1 could not be done (the message says why), 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ds01.core.login_summary import Summary, document, in_words
from ds01.file_set import FileSetError, write_atomically
from ds01.login_history import history
from ds01.mail import MailError, MailSettings, send

from .settings import Settings, SettingsError, load

KEPT = Path("/var/log/ds01/logins")
_MODE = 0o640


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="ds01-logins", description="The summary of a day's logins, kept and mailed.")
    top.add_argument("--day", metavar="YYYY-MM-DD", help="of this day (UTC); without it the last whole one")
    return top


def main(
    arguments: Sequence[str] | None = None,
    *,
    settings: Settings | None = None,
    kept: Path = KEPT,
    now: Callable[[], float] = time.time,
    look: Callable[[float, float], Summary] = history,
    mail: Callable[[MailSettings, str, str, str], None] = send,
) -> int:
    """Make the summary; returns the exit code. What can't be mailed is kept all the same."""
    options = parser().parse_args(arguments)
    try:
        begin = _begin(options.day, now())
        settings = settings or load()
        summary = look(begin.timestamp(), (begin + timedelta(days=1)).timestamp())
        text, name = in_words(summary), begin.strftime("%Y-%m-%d")
        print(text, end="")
        for suffix, content in ((".txt", text), (".json", json.dumps(document(summary), indent=2) + "\n")):
            write_atomically(str(kept / f"{name}{suffix}"), content.encode(), _MODE, os.geteuid(), _group(kept))
        return _post(settings, f"Logins on {os.uname().nodename}, {name}", text, mail)
    except (SettingsError, FileSetError, ValueError, OSError) as error:
        print(f"ds01-logins: {error}", file=sys.stderr)
        return 1


def _begin(day: str | None, now: float) -> datetime:
    if day is None:
        today = datetime.fromtimestamp(now, timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
        return today - timedelta(days=1)
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=timezone.utc)
    except ValueError:
        raise ValueError(f"--day {day}: expected a day such as 2026-12-01") from None


def _group(kept: Path) -> int:
    """The group of the directory, which may read what is kept."""
    return kept.stat().st_gid


def _post(settings: Settings, subject: str, text: str, mail: Callable[[MailSettings, str, str, str], None]) -> int:
    failed = 0
    for address in settings.mail_to if settings.mail.sender else ():
        try:
            mail(settings.mail, address, subject, text)
        except MailError as error:
            print(f"ds01-logins: {error}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
