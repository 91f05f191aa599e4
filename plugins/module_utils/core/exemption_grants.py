# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Exemptions from idle stop and maximum runtime that an admin gave by command, beside those of the policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from .policy_model import Exemption, Policy

RULES = ("idle", "runtime")


@dataclass(frozen=True)
class Granted:
    """``container`` None: all of the person's. Times are seconds since the epoch, UTC; ``until`` None: without end."""

    user: str
    container: str | None
    rules: tuple[str, ...]
    until: float | None
    reason: str
    by: str
    at: float

    @property
    def target(self) -> str:
        """``student1`` or ``student1/train``."""
        return self.user if self.container is None else f"{self.user}/{self.container}"

    def holds(self, now: float) -> bool:
        """True while it is in force; at ``until`` it holds no longer."""
        return self.until is None or now < self.until


def merged(policy: Policy, granted: Iterable[Granted]) -> Policy:
    """The policy with these exemptions added to its own."""
    return replace(policy, exemptions=policy.exemptions + tuple(_exemption(one) for one in granted))


def _exemption(one: Granted) -> Exemption:
    expires = None if one.until is None else datetime.fromtimestamp(one.until, timezone.utc)
    return Exemption(one.user, None, one.container, frozenset(one.rules), one.reason, one.by, expires)


def split(granted: Iterable[Granted], now: float) -> tuple[tuple[Granted, ...], tuple[Granted, ...]]:
    """Those in force, and those that are over."""
    every = tuple(granted)
    return tuple(one for one in every if one.holds(now)), tuple(one for one in every if not one.holds(now))


def with_grant(granted: Iterable[Granted], new: Granted) -> tuple[Granted, ...]:
    """With ``new``; one for the same person and container is replaced."""
    return (*(one for one in granted if one.target != new.target), new)


def to_dict(granted: Sequence[Granted]) -> dict[str, Any]:
    """As JSON values; read back by ``from_dict``."""
    keys = ("user", "container", "rules", "until", "reason", "by", "at")
    return {"v": 1, "exemptions": [{key: getattr(one, key) for key in keys} | {"rules": list(one.rules)} for one in granted]}


def from_dict(data: object) -> tuple[Granted, ...]:
    """The exemptions that ``to_dict`` wrote; raises ValueError naming the entry, the key and what would be right."""
    entries = data.get("exemptions") if isinstance(data, Mapping) else None
    if not isinstance(entries, list):
        raise ValueError('expected {"exemptions": [...]}')
    return tuple(_granted(position, entry) for position, entry in enumerate(entries))


def _granted(position: int, entry: object) -> Granted:
    where = f"exemptions[{position}]"
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where}: expected an object")
    for key in ("user", "reason", "by"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise ValueError(f"{where}.{key}={entry.get(key)!r}: expected text")
    container, until, rules = entry.get("container"), entry.get("until"), entry.get("rules")
    if container is not None and not isinstance(container, str):
        raise ValueError(f"{where}.container={container!r}: expected a container's name or null")
    if until is not None and (isinstance(until, bool) or not isinstance(until, (int, float))):
        raise ValueError(f"{where}.until={until!r}: expected seconds since the epoch or null")
    if not isinstance(rules, list) or not rules or not set(rules) <= set(RULES):
        raise ValueError(f"{where}.rules={rules!r}: expected some of {', '.join(RULES)}")
    at = entry.get("at")
    if isinstance(at, bool) or not isinstance(at, (int, float)):
        raise ValueError(f"{where}.at={at!r}: expected seconds since the epoch")
    return Granted(entry["user"], container, tuple(rules), None if until is None else float(until), entry["reason"], entry["by"], float(at))
