# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Brings notices to people: inbox always; terminals, a file in the container and mail as the policy's channels say.

A way that fails is logged and does not keep a notice from the others. Each delivery runs in a thread of its own with a deadline, because a
container's filesystem is its owner's and may answer slowly.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import container_files, inbox, mail, terminals
from .core.notices import Notice, banner

_LOG = logging.getLogger("ds01.notices")
IN_CONTAINER = "/dev/shm/ds01-notice"
DEADLINE_S = 15.0


@dataclass(frozen=True)
class Ways:
    """Where things are; tests put others in their place. ``mail`` None: nobody has an address."""

    inbox: Path = inbox.INBOX
    pts: str = terminals.PTS
    proc: str = "/proc"
    mail: mail.MailSettings | None = None


def deliver(
    notices: Sequence[Notice], channels: Collection[str], pids: Mapping[str, int], ways: Ways, deadline: float = DEADLINE_S
) -> None:
    """Bring every notice. ``pids``: a process of each running container, by its id. Returns after ``deadline`` seconds at the latest."""
    if not notices:
        return
    work: list[Callable[[], None]] = []
    for notice in notices:
        _contained(partial(inbox.add, notice, ways.inbox), "inbox", notice)
    if "terminal" in channels:
        open_now = terminals.terminals(ways.pts)
        work.append(partial(_to_terminals, notices, open_now))
    if "container" in channels:
        work += [partial(_into_container, one, own, pids[one], ways) for one, own in _by_container(notices).items() if one in pids]
    if "mail" in channels and ways.mail is not None:
        work.append(partial(_by_mail, notices, ways.mail))
    _run(work, deadline)


def _run(work: Sequence[Callable[[], None]], deadline: float) -> None:
    done = threading.Semaphore(0)

    def one(task: Callable[[], None]) -> None:
        try:
            task()
        finally:
            done.release()

    for task in work:
        threading.Thread(target=one, args=(task,), name="notice", daemon=True).start()
    end = time.monotonic() + deadline
    late = sum(not done.acquire(timeout=max(0.0, end - time.monotonic())) for _ in work)
    if late:
        _LOG.error("%d of %d deliveries of notices were not done after %.0f s and are left", late, len(work), deadline)


def _contained(action: Callable[[], object], way: str, notice: Notice) -> None:
    try:
        action()
    except (OSError, ValueError, mail.MailError) as error:
        _LOG.warning("notice to %s (%s): %s: %s", notice.user, notice.container or "-", way, error)


def _to_terminals(notices: Sequence[Notice], open_now: Mapping[int, Sequence[str]]) -> None:
    for notice in notices:
        terminals.write(open_now.get(notice.uid, ()), notice.uid, banner(notice))


def _by_container(notices: Sequence[Notice]) -> dict[str, list[Notice]]:
    found: dict[str, list[Notice]] = {}
    for notice in notices:
        if notice.container_id is not None:
            found.setdefault(notice.container_id, []).append(notice)
    return found


def _into_container(container_id: str, notices: Sequence[Notice], pid: int, ways: Ways) -> None:
    text = "".join(banner(notice) + "\n" for notice in notices).encode()

    def put() -> None:
        with container_files.container_root(pid, container_id, ways.proc) as root:
            container_files.write(root, IN_CONTAINER, text)

    _contained(put, IN_CONTAINER, notices[0])


def _by_mail(notices: Sequence[Notice], settings: mail.MailSettings) -> None:
    for notice in notices:
        to = settings.address(notice.user)
        if to is not None:
            subject = f"ds01: {notice.container}" if notice.container else "ds01"
            _contained(partial(mail.send, settings, to, subject, notice.text + "\n"), "mail", notice)
