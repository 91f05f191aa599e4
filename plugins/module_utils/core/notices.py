# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What people are told, in which words, and when not again. Delivery is elsewhere; a notice does not know how it arrives.

Every text says what happens, why with the numbers, and what to do. It fits on a line or two of a terminal and holds no control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .lifecycle_reason import Reason
from .plain_words import plain, span
from .quota import moment

REARM_PERCENT = 10
"""A quota is told of again only after use has fallen this far (percent of the quota) below the mark: use that wavers is one crossing."""


@dataclass(frozen=True)
class Notice:
    """``level`` is info, warning or stop. ``container_id`` is where a file is to appear too; None for what is not about one that runs."""

    uid: int
    user: str
    at: float
    level: str
    text: str
    container: str | None = None
    container_id: str | None = None


@dataclass(frozen=True)
class Whose:
    """The container that a notice is about."""

    uid: int
    user: str
    name: str
    id: str


@dataclass(frozen=True)
class QuotaUse:
    """``used`` of ``limit``; ``name`` is what the person knows it as, ``text`` the two numbers in words."""

    name: str
    used: float
    limit: float
    text: str

    @property
    def percent(self) -> float:
        """Use in percent of the limit; a limit of 0 is never near."""
        return 100.0 * self.used / self.limit if self.limit > 0 else 0.0


def _notice(whose: Whose, at: float, level: str, text: str, *, inside: bool = True) -> Notice:
    return Notice(whose.uid, whose.user, at, level, plain(text), whose.name, whose.id if inside else None)


def warning(whose: Whose, reason: Reason, in_s: float, spent_s: float, limit_s: float, at: float) -> Notice:
    """A stop is ahead. ``at`` is now, seconds since the epoch (UTC)."""
    when = f"in {span(in_s)}, at {moment(at + in_s)}"
    if reason is Reason.MAINTENANCE:
        text = (
            f"Container {whose.name} will be stopped {when}, for maintenance of the server. Save your work. Its files are kept. "
            "See: ds01 maintenance status"
        )
    elif reason is Reason.IDLE:
        text = (
            f"Container {whose.name} has been idle for {span(spent_s)} (limit {span(limit_s)}) and will be stopped {when}, unless it is "
            "used. To keep it: touch /workspace/.keep-alive in it."
        )
    else:
        text = (
            f"Container {whose.name} has run for {span(spent_s)} of {span(limit_s)} and will be stopped {when}. Save your work. "
            "More time: ask an administrator for an exemption."
        )
    return _notice(whose, at, "warning", text)


def withdrawal(whose: Whose, reason: Reason, at: float) -> Notice:
    """The announced stop is off."""
    why = "it has time again"
    if reason is Reason.IDLE:
        why = "it is in use again"
    elif reason is Reason.MAINTENANCE:
        why = "the maintenance was called off or moved"
    return _notice(whose, at, "info", f"Container {whose.name} will not be stopped: {why}.")


def stopped(whose: Whose, reason: Reason, after_s: float, limit_s: float, at: float, *, per_start: bool = False) -> Notice:
    """It was stopped, and why. ``per_start``: its runtime is counted anew from each start."""
    if reason is Reason.MAINTENANCE:
        text = f"Container {whose.name} was stopped at {moment(at)} for maintenance of the server. Its files are kept; when it is over: "
        return _notice(whose, at, "stop", f"{text}docker start {whose.name}", inside=False)
    why = f"was idle for {span(after_s)}" if reason is Reason.IDLE else f"ran for {span(after_s)}"
    again = f"Its files are kept; start it again with: docker start {whose.name}"
    if reason is Reason.RUNTIME and not per_start:
        again = "Its files are kept: docker cp and docker commit still work. Its time is over, so make a new one to go on."
    return _notice(
        whose, at, "stop", f"Container {whose.name} was stopped at {moment(at)}: it {why} (limit {span(limit_s)}). {again}", inside=False
    )


def removed(whose: Whose, reason: Reason, after_s: float, limit_s: float, at: float) -> Notice:
    """It was removed, and why."""
    why = "was never started" if reason is Reason.NEVER_STARTED else "had been stopped"
    text = f"Container {whose.name} was removed at {moment(at)}: it {why} for {span(after_s)} (limit {span(limit_s)})."
    return _notice(whose, at, "stop", text, inside=False)


def crossings(told: Iterable[str], uses: Iterable[QuotaUse], percent: int) -> tuple[frozenset[str], tuple[QuotaUse, ...]]:
    """Of which quotas the person is told now; and the names of those that they have been told of, to be given as ``told`` next time.

    What is not in ``uses`` (not known now) stays as it was.
    """
    known: Mapping[str, QuotaUse] = {use.name: use for use in uses}
    kept = {name for name in told if name not in known or known[name].percent >= percent - REARM_PERCENT}
    fresh = tuple(use for use in known.values() if use.percent >= percent and use.name not in kept)
    return frozenset(kept | {use.name for use in fresh}), fresh


def near_quota(uid: int, user: str, use: QuotaUse, at: float) -> Notice:
    """A quota is nearly used up."""
    text = f"You use {use.percent:.0f} % of your {use.name}: {use.text}. See: ds01 quota"
    return Notice(uid, user, at, "warning", plain(text))


def announcement(uid: int, user: str, text: str, by: str, at: float) -> Notice:
    """An administrator's word to everybody."""
    return Notice(uid, user, at, "info", plain(f"Message from {by}: {text}"))


def banner(notice: Notice) -> str:
    """The notice as it stands on a terminal or in a file: with its level and time, one line."""
    head = {"info": "note", "warning": "WARNING", "stop": "STOPPED"}.get(notice.level, "note")
    return f"[ds01 {moment(notice.at)}] {head}: {notice.text}"
