# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The policy of this host: ``/etc/ds01/policy.json``, read again when it changes, and what the user database says about a person."""

from __future__ import annotations

import grp
import json
import os
import pwd
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .core.limits import Limits
from .core.policy_check import load
from .core.policy_model import Policy
from .core.policy_problems import PolicyError, Problem
from .core.policy_resolve import resolve

POLICY_PATH = "/etc/ds01/policy.json"
FACTS_FOR = 30.0
_Stamp = tuple[int, int, int, int]


@dataclass(frozen=True)
class UserFacts:
    """What the user database (files, sssd, …) says about a person. ``linux_groups``: names of all their groups."""

    name: str
    uid: int
    home: str
    linux_groups: tuple[str, ...]


class PolicyFile:
    """The policy in force. Safe for use by several threads.

    ``current`` looks at the file's identity, size and time at each call and reads it only when those differ. A file that is missing or not
    valid leaves the last good policy in force; ``problem`` then says what is wrong, and ``on_problem`` was called with that text, once.
    ``on_change`` is called when a good policy takes another's place. Both are called under a lock: they must not ask for the policy.
    """

    def __init__(
        self,
        path: str = POLICY_PATH,
        *,
        on_problem: Callable[[str], None] | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.path = path
        self._on_problem = on_problem
        self._on_change = on_change
        self._lock = threading.Lock()
        self._stamp: _Stamp | None = None
        self._policy: Policy | None = None
        self._error: PolicyError | None = None

    @property
    def problem(self) -> str | None:
        """What is wrong with the file as it was last looked at; None where it is the policy in force."""
        return None if self._error is None else str(self._error)

    def current(self) -> Policy:
        """The last good policy. Raises PolicyError where there has never been one: without a policy nothing is granted."""
        with self._lock:
            try:
                self._refresh()
            except PolicyError as error:
                if str(error) != self.problem and self._on_problem is not None:
                    self._on_problem(str(error))
                self._error = error
            if self._policy is not None:
                return self._policy
            raise self._error or PolicyError(self.path, [Problem("", "", "was never read")])

    def _refresh(self) -> None:
        try:
            stamp = _stamp(os.stat(self.path))
            if stamp == self._stamp:
                return
            with open(self.path, "rb") as file:
                stamp = _stamp(os.fstat(file.fileno()))
                content = file.read()
        except OSError as error:
            self._stamp = None
            told = f"can't be read: {error.strerror}; expected the file that role policy writes"
            raise PolicyError(self.path, [Problem("", "", told)]) from error
        self._stamp = stamp
        before = self._policy
        self._policy = load(parse_json(content, self.path), self.path)
        self._error = None
        if before is not None and before != self._policy and self._on_change is not None:
            self._on_change()


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def parse_json(content: bytes, path: str) -> object:
    """The document in a JSON file; raises PolicyError for what is not JSON, or for a key that stands twice."""
    try:
        return json.loads(content, object_pairs_hook=_without_doubles)
    except ValueError as error:
        raise PolicyError(path, [Problem("", "", f"is not JSON: {error}")]) from error


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice in one mapping; expected it once")
        found[key] = value
    return found


def facts_by_uid(uid: int) -> UserFacts:
    """The facts of the person with that uid, who must also be the one whom their name finds; raises LookupError.

    A local account of the same name can hide a person of the domain: then the name leads to another uid, and what is kept by name would
    be shared.
    """
    try:
        entry = pwd.getpwuid(uid)
        owner = pwd.getpwnam(entry.pw_name).pw_uid
    except KeyError as error:
        raise LookupError(f"uid {uid}: the user database doesn't know it; see `getent passwd {uid}`") from error
    if owner != uid:
        name = entry.pw_name
        raise LookupError(f"uid {uid}: its name {name!r} belongs to uid {owner}; expected one account a name, see `getent passwd {name}`")
    return _facts(entry)


def facts_by_name(name: str) -> UserFacts:
    """The facts of the person of that name; raises LookupError."""
    try:
        return _facts(pwd.getpwnam(name))
    except KeyError as error:
        raise LookupError(f"{name}: the user database doesn't know this name; see `getent passwd {name}`") from error


def _facts(entry: pwd.struct_passwd) -> UserFacts:
    names = []
    for gid in os.getgrouplist(entry.pw_name, entry.pw_gid):
        try:
            names.append(grp.getgrgid(gid).gr_name)
        except KeyError:
            continue  # A gid without a name can't stand in a policy.
    return UserFacts(entry.pw_name, entry.pw_uid, entry.pw_dir, tuple(names))


@dataclass(frozen=True)
class _Resolved:
    """Limits, and what they were made of at the moment ``made``."""

    person: UserFacts
    policy: Policy
    made: datetime
    limits: Limits

    def holds(self, person: UserFacts, policy: Policy, now: datetime) -> bool:
        """Whether the same would come out again: time alone changes them only when an exemption ends."""
        ends = self.limits.expires
        return self.person is person and self.policy is policy and self.made <= now and (ends is None or now.timestamp() < ends)


class Resolver:
    """The limits of the people of this host: policy, user database and clock in one. Safe for use by several threads.

    Facts of the user database are kept for ``facts_for`` seconds, so that a burst of requests asks sssd once.
    """

    def __init__(
        self,
        policies: PolicyFile,
        *,
        lookup: Callable[[int], UserFacts] = facts_by_uid,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        monotonic: Callable[[], float] = time.monotonic,
        facts_for: float = FACTS_FOR,
    ) -> None:
        self.policies = policies
        self._now = now
        self._lookup = lookup
        self._monotonic = monotonic
        self._facts_for = facts_for
        self._lock = threading.Lock()
        self._known: dict[int, tuple[float, UserFacts]] = {}
        self._resolved: dict[tuple[int, str | None], _Resolved] = {}

    def facts(self, uid: int) -> UserFacts:
        """What the user database says; raises LookupError. A failure is not remembered."""
        moment = self._monotonic()
        with self._lock:
            kept = self._known.get(uid)
        if kept is not None and moment - kept[0] < self._facts_for:
            return kept[1]
        found = self._lookup(uid)
        with self._lock:
            self._known[uid] = (moment, found)
        return found

    def forget(self) -> None:
        """Ask the user database anew, for everybody."""
        with self._lock:
            self._known.clear()

    def limits(self, uid: int, *, kind: str | None = None, container: str | None = None) -> Limits:
        """The limits of the person now; raises LookupError for an unknown uid and PolicyError where there is no policy."""
        person, policy, now = self.facts(uid), self.policies.current(), self._now()
        if container is None:
            before = self._resolved.get((uid, kind))
            if before is not None and before.holds(person, policy, now):
                return before.limits
        limits = resolve(
            policy,
            person.name,
            now=now,
            uid=person.uid,
            home=person.home,
            linux_groups=person.linux_groups,
            kind=kind,
            container=container,
        )
        if container is None:
            self._resolved[uid, kind] = _Resolved(person, policy, now, limits)
        return limits
