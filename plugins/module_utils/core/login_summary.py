# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Who logged in from where, who was refused, and who started what: records added up, in bounded memory, and told in words.

Strangers choose names and addresses of refused logins, and people the names of their programs; beyond a bound they are counted together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .event import timestamp
from .login_records import BY_UID, Kind, Record
from .plain_words import plain

MOST_NAMES = 1000
OTHERS = "(others)"
_SHOWN = 5


def _count(counter: Counter[str], name: str) -> None:
    counter[name if name in counter or len(counter) < MOST_NAMES else OTHERS] += 1


@dataclass
class PersonDay:
    """What one person did. ``seconds`` in sessions, counted within the time that is looked at."""

    logins: int = 0
    first: float | None = None
    last: float | None = None
    addresses: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    seconds: float = 0.0
    switched: int = 0
    denied: int = 0
    programs: Counter[str] = field(default_factory=Counter)
    as_others: Counter[str] = field(default_factory=Counter)


@dataclass
class Summary:
    """``refused``: connections that came to no login, by address; ``tried``: the names they asked for."""

    since: float
    until: float
    people: dict[str, PersonDay] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    tried: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def summarise(records: Iterable[Record], since: float, until: float, names: Mapping[str, str], only: str | None = None) -> Summary:
    """Everything from ``since`` up to, not including, ``until``. ``names``: uid in digits → name; ``only``: of this person.

    A session that began before, or has not ended, counts from ``since`` or until ``until``.
    """
    summary = Summary(since, until)
    began: dict[str, tuple[str, float]] = {}
    refused: set[tuple[str, str]] = set()
    for record in records:
        if not since <= record.time < until:
            continue
        if record.kind is Kind.REFUSED:
            if only is None and (record.where, record.how) not in refused:
                _count(summary.refused, record.where)
                _count(summary.tried, record.who)
                if len(refused) < MOST_NAMES * 10:
                    refused.add((record.where, record.how))
            continue
        who = names.get(record.who, record.who) if record.kind in BY_UID else record.who
        if not who or (only is not None and who != only):
            continue
        person = summary.people.setdefault(who, PersonDay())
        _add(person, record, began, since)
    for who, start in began.values():
        summary.people[who].seconds += until - start
    return summary


def _add(person: PersonDay, record: Record, began: dict[str, tuple[str, float]], since: float) -> None:
    if record.kind is Kind.LOGIN:
        person.logins += 1
        person.first = record.time if person.first is None else min(person.first, record.time)
        person.last = record.time if person.last is None else max(person.last, record.time)
        _count(person.addresses, record.where)
        _count(person.methods, record.how)
    elif record.kind is Kind.BEGAN:
        person.sessions += 1
        began[record.where] = (record.who, record.time)
    elif record.kind is Kind.ENDED:
        _, start = began.pop(record.where, (record.who, since))
        person.seconds += record.time - start
    elif record.kind is Kind.SWITCHED:
        person.switched += 1
    elif record.kind is Kind.DENIED:
        person.denied += 1
    elif record.kind is Kind.PROGRAM:
        _count(person.as_others if record.how == "other" else person.programs, record.where)


def document(summary: Summary) -> dict[str, Any]:
    """The summary as JSON values."""
    people = {
        who: {
            "logins": one.logins,
            "first_login": None if one.first is None else timestamp(one.first),
            "last_login": None if one.last is None else timestamp(one.last),
            "addresses": dict(one.addresses.most_common()),
            "methods": dict(one.methods.most_common()),
            "sessions": one.sessions,
            "session_seconds": round(one.seconds),
            "used_other_identities": one.switched,
            "refused_other_identities": one.denied,
            "programs": dict(one.programs.most_common()),
            "programs_as_others": dict(one.as_others.most_common()),
        }
        for who, one in sorted(summary.people.items())
    }
    return {
        "since": timestamp(summary.since),
        "until": timestamp(summary.until),
        "people": people,
        "refused": {"by_address": dict(summary.refused.most_common()), "by_name": dict(summary.tried.most_common())},
        "problems": summary.problems,
    }


def in_words(summary: Summary) -> str:
    """The summary for the administrator, a mail's worth of text."""
    lines = [f"Logins from {timestamp(summary.since)[:16]} to {timestamp(summary.until)[:16]} (UTC)", ""]
    people = sorted(summary.people.items(), key=lambda item: (-item[1].logins, item[0]))
    table: list[tuple[str, ...]] = [("PERSON", "LOGINS", "HOURS", "SUDO/SU", "REFUSED", "PROGRAMS", "FROM")]
    for who, p in people:
        programs = p.programs.total() + p.as_others.total()
        numbers = (p.logins, f"{p.seconds / 3600:.1f}", p.switched, p.denied, programs)
        table.append((plain(who), *map(str, numbers), _top(p.addresses)))
    if people:
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    else:
        lines.append("Nobody logged in.")
    others = [(who, p.as_others) for who, p in people if p.as_others]
    if others:
        lines += ["", "Programs under another identity than that of the login:"]
        lines += [f"  {plain(who)}: {_top(programs)}" for who, programs in others]
    if summary.refused:
        lines += ["", f"{summary.refused.total()} connections came to no login; from: {_top(summary.refused)}"]
        lines.append(f"Names they asked for: {_top(summary.tried)}")
    lines += [f"Not complete: {problem}" for problem in summary.problems]
    return "\n".join(lines) + "\n"


def _top(counter: Counter[str]) -> str:
    shown = counter.most_common(_SHOWN)
    more = f" and {len(counter) - len(shown)} more" if len(counter) > len(shown) else ""
    return ", ".join(plain(name)[:80] if count == 1 else f"{plain(name)[:80]} ({count})" for name, count in shown) + more
