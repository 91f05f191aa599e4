# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What relates settings of a policy to each other. Each rule is one generator of problems."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from .bind_root_paths import refusal_of_root
from .durations import format_duration
from .policy_groups import possible_groups
from .policy_layers import BUILT_IN, Settings, lay, rank
from .policy_model import Group, Layer, Policy
from .policy_problems import Problem, shown, suggestion
from .policy_schema import DEFAULT_POOL
from .policy_shape import join
from .quantities import format_size

_ANYBODY = ("a", "zz9", "some.one@example.org")
_NOT_ABOVE = (
    ("aggregate.memory_high", "aggregate.memory_max", "the kernel would kill before it slows down"),
    ("container.memory", "aggregate.memory_max", "one container could not get what it is promised"),
    ("container.cpus", "aggregate.cpus", "one container could not get what it is promised"),
    ("container.pids", "aggregate.tasks", "one container could not get what it is promised"),
    ("container.shm", "container.memory", "/dev/shm counts as memory of the container"),
)


def cross_check(policy: Policy, now: datetime | None) -> Iterator[Problem]:
    """Every problem of a policy whose shape is right. The same problem is said once, where the value stands."""
    seen = set()
    for rule in (_groups_exist, _one_group_each, _admins, _limits, _pools, _bind_roots):
        for problem in rule(policy):
            if problem not in seen:
                seen.add(problem)
                yield problem
    yield from _exemptions(policy, now)


def _unknown_group(policy: Policy, key: str, name: str) -> Problem:
    names = [group.name for group in policy.groups]
    return Problem(key, shown(name), f"there is no such group{suggestion(name, names) or '; known: ' + (', '.join(names) or 'none')}")


def _groups_exist(policy: Policy) -> Iterator[Problem]:
    if policy.group(policy.default_group) is None:
        yield _unknown_group(policy, "default_group", policy.default_group)
    for user in policy.users.values():
        if user.group is not None and policy.group(user.group) is None:
            yield _unknown_group(policy, join("users", user.name) + ".group", user.group)
    for index, exemption in enumerate(policy.exemptions):
        if exemption.group is not None and policy.group(exemption.group) is None:
            yield _unknown_group(policy, f"exemptions[{index}].group", exemption.group)
    for index, root in enumerate(policy.bind_roots):
        for position, name in enumerate(root.groups or ()):
            if policy.group(name) is None:
                yield _unknown_group(policy, f"bind_roots[{index}].groups[{position}]", name)


def _one_group_each(policy: Policy) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for group in policy.groups:
        for index, member in enumerate(group.members):
            key = f"groups.{group.name}.members[{index}]"
            if member in first:
                yield Problem(key, shown(member), f"is a member of groups.{first[member]} already; expected one group a person")
            first.setdefault(member, group.name)
            stated = policy.users[member].group if member in policy.users else None
            if stated not in (None, group.name):
                yield Problem(key, shown(member), f"has no effect: {join('users', member)}.group says {stated}", warning=True)


def _admins(policy: Policy) -> Iterator[Problem]:
    default = policy.group(policy.default_group)
    if default is not None and default.admin:
        yield Problem(
            "default_group", shown(default.name), "is a group of admins, so everybody unknown would be one; expected an ordinary group"
        )
    for group in policy.groups:
        if group.admin and group.match:
            yield Problem(
                f"groups.{group.name}.match",
                shown(list(group.match)),
                "makes admins by a rule on the name; safer are members",
                warning=True,
            )
        if group.admin and any(all(re.fullmatch(rule, name) for name in _ANYBODY) for rule in group.match):
            yield Problem(f"groups.{group.name}.match", shown(list(group.match)), "matches any name, so everybody would be an admin")


def _limits(policy: Policy) -> Iterator[Problem]:
    base = [("defaults", policy.defaults)]
    yield from _block(policy, lay(base))
    for group in policy.groups:
        yield from _block(policy, lay([*base, _layer_of(group)]))
    for user in policy.users.values():
        own = (join("users", user.name) + ".limits", user.limits)
        # Where only the host knows the person's group, a mistake is certain if it is one in every group that may apply.
        found = {group.name: list(_block(policy, lay([*base, _layer_of(group), own]))) for group in possible_groups(policy, user.name)}
        for name, problems in found.items():
            for problem in problems:
                certain = problem.warning or all(problem.key in {p.key for p in others} for others in found.values())
                yield problem if certain else replace(problem, message=f"in group {name}: {problem.message}", warning=True)
    for kind, layer in policy.kinds.items():
        yield from _warned_in_time(policy, lay([*base, (f"kinds.{kind}", layer)]))


def _layer_of(group: Group) -> tuple[str, Layer]:
    return f"groups.{group.name}.limits", group.limits


def _block(policy: Policy, settings: Settings) -> Iterator[Problem]:
    for low, high, why in _NOT_ABOVE:
        yield from _not_above(settings, low, high, why)
    yield from _gpu(settings, policy)
    yield from _warned_in_time(policy, settings)


def _at(settings: Settings, key: str) -> str:
    source = settings.sources[key]
    return f"{source}.{key}" if source != BUILT_IN else key


def _not_above(settings: Settings, low: str, high: str, why: str) -> Iterator[Problem]:
    below, above = settings.values[low], settings.values[high]
    if below is None or above is None or below <= above:
        return
    # The mistake stands where the later of the two was set; the earlier is named in the message.
    if rank(settings.sources[low]) >= rank(settings.sources[high]):
        at, other, sign, bound = low, high, "at most", above
    else:
        at, other, sign, bound = high, low, "at least", below
    told = f"{other} ({_source(settings, other)})"
    yield Problem(_at(settings, at), _text(at, settings.values[at]), f"expected {sign} {_text(other, bound)}, the value of {told}: {why}")


def _source(settings: Settings, key: str) -> str:
    source = settings.sources[key]
    return "built-in value" if source == BUILT_IN else f"set in {source}"


def _text(key: str, value: Any) -> str:
    return format_size(value) if key.endswith(("memory", "memory_high", "memory_max", "shm")) else f"{value:g}"


def _gpu(settings: Settings, policy: Policy) -> Iterator[Problem]:
    share, whole = settings.values["gpu.equivalents"], settings.values["gpu.full_gpu"]
    if whole and share is not None and 0 < share < 1:
        yield Problem(_at(settings, "gpu.full_gpu"), "true", f"has no effect: gpu.equivalents is {share}, less than one GPU", warning=True)
    if settings.values["gpu.profiles"] == [] and not whole and share != 0:
        why = "leaves no device at all, as full_gpu is false; expected a profile, null (every profile), or full_gpu: true"
        yield Problem(_at(settings, "gpu.profiles"), "[]", why)
    known = [DEFAULT_POOL, *(name for name in policy.pools if name != DEFAULT_POOL)]
    for index, pool in enumerate(settings.values["gpu.pools"]):
        if pool not in known:
            hint = suggestion(pool, known) or "; known: " + ", ".join(known)
            yield Problem(f"{_at(settings, 'gpu.pools')}[{index}]", shown(pool), f"there is no such pool{hint}")


def _warned_in_time(policy: Policy, settings: Settings) -> Iterator[Problem]:
    for key, before in (("lifecycle.idle", policy.notifications.idle_warning), ("lifecycle.runtime", policy.notifications.runtime_warning)):
        limit = settings.values[key]
        if limit is not None and limit <= before:
            setting = f"notifications.{key.removeprefix('lifecycle.')}_warning"
            told = f"is not more than {setting} ({format_duration(before)}), so the warning comes late"
            yield Problem(_at(settings, key), format_duration(limit), told, warning=True)


def _pools(policy: Policy) -> Iterator[Problem]:
    first: dict[int | str, str] = {}
    for name, gpus in policy.pools.items():
        for index, gpu in enumerate(gpus):
            if gpu in first:
                yield Problem(f"pools.{name}.gpus[{index}]", shown(gpu), f"is in pools.{first[gpu]} already; expected one pool a GPU")
            first.setdefault(gpu, name)


def _bind_roots(policy: Policy) -> Iterator[Problem]:
    for index, root in enumerate(policy.bind_roots):
        refused = refusal_of_root(root.path)
        if refused is not None:
            yield Problem(f"bind_roots[{index}].path", shown(root.path), refused)


def _exemptions(policy: Policy, now: datetime | None) -> Iterator[Problem]:
    for index, exemption in enumerate(policy.exemptions):
        key = f"exemptions[{index}]"
        if (exemption.user is None) == (exemption.group is None):
            yield Problem(key, "", "expected either user or group")
        if exemption.container is not None and exemption.user is None:
            yield Problem(f"{key}.container", shown(exemption.container), "expected its user too: anybody could call a container so")
        if exemption.container is not None and "bare_metal" in exemption.rules:
            yield Problem(
                f"{key}.from", "bare_metal", "is about GPU use outside containers; expected idle or runtime for a single container"
            )
        if not exemption.rules:
            yield Problem(f"{key}.from", "[]", "exempts from nothing; expected one of bare_metal, idle, runtime")
        if now is not None and exemption.expires is not None and exemption.expires <= now:
            yield Problem(
                f"{key}.expires",
                exemption.expires.isoformat(),
                "has passed, so the exemption has no effect; it can be removed",
                warning=True,
            )
