# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which group a person is in.

The first that applies: ``users.<name>.group``; a group that lists the person; the first group with one of the person's Linux groups;
the first group with a rule that matches the whole name; the default group.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from .policy_model import Group, Policy


def group_of(policy: Policy, user: str, linux_groups: Collection[str] = ()) -> tuple[Group, str]:
    """The person's group and the rule that chose it, in words; raises LookupError where a checked policy can't have got to."""
    stated = policy.users[user].group if user in policy.users else None
    if stated is not None:
        return _existing(policy, stated), "users"
    for group in policy.groups:
        if user in group.members:
            return group, "members"
    for group in policy.groups:
        for linux_group in group.linux_groups:
            if linux_group in linux_groups:
                return group, f"Linux group {linux_group}"
    for group in policy.groups:
        for rule in group.match:
            if re.fullmatch(rule, user):
                return group, f"rule {rule}"
    return _existing(policy, policy.default_group), "default_group"


def possible_groups(policy: Policy, user: str) -> tuple[Group, ...]:
    """Every group that the person may turn out to be in, as far as it can be told without the host's user database."""
    if any(name is not None and policy.group(name) is None for name in _named(policy, user)):
        return ()
    without, chosen_by = group_of(policy, user)
    if chosen_by in ("users", "members"):
        return (without,)
    return (without, *(group for group in policy.groups if group.linux_groups and group is not without))


def _named(policy: Policy, user: str) -> tuple[str | None, str]:
    return (policy.users[user].group if user in policy.users else None, policy.default_group)


def _existing(policy: Policy, name: str) -> Group:
    group = policy.group(name)
    if group is None:
        raise LookupError(f"the policy has no group {name!r}; expected one of {', '.join(g.name for g in policy.groups)}")
    return group
