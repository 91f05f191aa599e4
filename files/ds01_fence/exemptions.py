# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whom the policy exempts from the fence: resolved for everybody who could be meant.

A directory service does not list its people, so those are asked about who are named in the policy, are members of its Linux groups,
have a home, are logged in, or have an exemption already.
"""

from __future__ import annotations

import grp
import os
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path

from ds01.core.bare_metal import Exempt
from ds01.core.policy_exemptions import described, in_force
from ds01.core.policy_model import Exemption, Policy
from ds01.core.policy_resolve import resolve
from ds01.policy_file import UserFacts, facts_by_name, facts_by_uid

RULE = "bare_metal"


def from_policy(
    policy: Policy,
    now: float,
    uids: Iterable[int],
    home_roots: Iterable[Path] = (Path("/home"),),
    by_name: Callable[[str], UserFacts] = facts_by_name,
    by_uid: Callable[[int], UserFacts] = facts_by_uid,
) -> list[Exempt]:
    """The people whom an exemption in force exempts. ``uids``: others to be asked about, such as those who are logged in."""
    rules = [e for e in policy.exemptions if RULE in e.rules and e.container is None]
    if not rules:
        return []
    people: dict[int, UserFacts] = {}
    for name in _names(policy, rules):
        _add(people, by_name, name)
    if any(e.group is not None for e in rules):
        for uid in {*uids, *_owners(home_roots)}:
            if uid not in people:
                _add(people, by_uid, uid)
    at = datetime.fromtimestamp(now, timezone.utc)
    found: list[Exempt] = []
    for facts in sorted(people.values(), key=lambda f: f.uid):
        limits = resolve(policy, facts.name, now=at, uid=facts.uid, home=facts.home, linux_groups=facts.linux_groups)
        holding = [e for e in in_force(policy, user=facts.name, group=limits.group, now=at) if RULE in e.rules and e.container is None]
        if holding:
            ends = [e.expires.timestamp() for e in holding if e.expires is not None]
            until = max(ends) if len(ends) == len(holding) else None
            found.append(Exempt(facts.uid, facts.name, until, tuple(described(e) for e in holding)))
    return found


def _names(policy: Policy, rules: Iterable[Exemption]) -> set[str]:
    """Names that the exemptions can mean: users, and members of groups by name or by Linux group."""
    names: set[str] = set()
    for exemption in rules:
        if exemption.user is not None:
            names.add(exemption.user)
            continue
        for group in policy.groups:
            if group.name == exemption.group:
                names.update(group.members)
                for linux_group in group.linux_groups:
                    names.update(_members(linux_group))
        names.update(user.name for user in policy.users.values() if user.group == exemption.group)
    return names


def _members(linux_group: str) -> list[str]:
    try:
        return list(grp.getgrnam(linux_group).gr_mem)
    except KeyError:
        return []


def _owners(home_roots: Iterable[Path]) -> set[int]:
    """Owners of homes; root's own directories there are nobody's home."""
    found: set[int] = set()
    for root in home_roots:
        try:
            with os.scandir(root) as entries:
                found.update(e.stat(follow_symlinks=False).st_uid for e in entries if e.is_dir(follow_symlinks=False))
        except OSError:
            continue
    return found - {0}


def _add(people: dict[int, UserFacts], lookup: Callable[..., UserFacts], key: object) -> None:
    try:
        facts = lookup(key)
    except LookupError:
        return
    people[facts.uid] = facts
