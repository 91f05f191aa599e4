# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What holds for one person: the policy's layers laid over each other.

For each setting on its own the last layer that says something holds: built-in value, ``defaults``, the group's limits, the user's limits,
the lifecycle of the kind of container, an exemption in force. Saying nothing differs from null: null is a value, "without limit".
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from fractions import Fraction
from typing import Any

from .bind_root_paths import fill
from .limits import AggregateLimits, BindRoot, ContainerLimits, GpuLimits, LifecycleLimits, Limits
from .policy_exemptions import described, in_force
from .policy_groups import group_of
from .policy_layers import Settings, lay
from .policy_model import Exemption, Group, Policy
from .policy_schema import KINDS
from .policy_shape import join


def resolve(
    policy: Policy,
    user: str,
    *,
    now: datetime,
    uid: int | None = None,
    home: str | None = None,
    linux_groups: Collection[str] = (),
    kind: str | None = None,
    container: str | None = None,
) -> Limits:
    """The limits of a person at ``now`` (UTC).

    ``user`` is the name as the user database has it. ``kind`` (one of ``policy_schema.KINDS``) adds what holds for containers of that
    kind; ``container`` (the name that its owner gave it) adds exemptions of that one container. Raises ValueError for an unknown kind.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind {kind!r}: there is no such kind of container; expected one of {', '.join(KINDS)}")
    group, chosen_by = group_of(policy, user, linux_groups)
    settings = _settings(policy, user, group, kind)
    exemptions = tuple(in_force(policy, user=user, group=group.name, now=now, container=container))
    bare_metal = _apply(exemptions, settings)
    settings.sources.update(
        {"group": chosen_by, "priority": f"groups.{group.name}", "admin": f"groups.{group.name}", "bare_metal": bare_metal or "not exempt"}
    )
    ends = [exemption.expires.timestamp() for exemption in exemptions if exemption.expires is not None]
    return Limits(
        user=user,
        group=group.name,
        priority=group.priority,
        admin=group.admin,
        bare_metal=bare_metal is not None,
        gpu=_gpu(settings),
        container=ContainerLimits(**_block(settings, "container")),
        aggregate=AggregateLimits(**_block(settings, "aggregate")),
        lifecycle=LifecycleLimits(**_block(settings, "lifecycle")),
        bind_roots=_bind_roots(policy, user, uid, group.name, home),
        sources=settings.sources,
        kind=kind,
        expires=min(ends, default=None),
    )


def _settings(policy: Policy, user: str, group: Group, kind: str | None) -> Settings:
    layers = [("defaults", policy.defaults), (f"groups.{group.name}", group.limits)]
    if user in policy.users:
        layers.append((join("users", user), policy.users[user].limits))
    if kind is not None:
        layers.append((f"kinds.{kind}", policy.kinds[kind]))
    return lay(layers)


def _apply(exemptions: tuple[Exemption, ...], settings: Settings) -> str | None:
    """Lift what the exemptions lift; the source of bare-metal access, or None where there is none."""
    bare_metal = None
    for exemption in exemptions:
        source = described(exemption)
        for rule in sorted(exemption.rules & {"idle", "runtime"}):
            settings.values[f"lifecycle.{rule}"] = None
            settings.sources[f"lifecycle.{rule}"] = source
        if "bare_metal" in exemption.rules:
            bare_metal = source
    return bare_metal


def _block(settings: Settings, block: str) -> dict[str, Any]:
    return {key.removeprefix(f"{block}."): value for key, value in settings.values.items() if key.startswith(f"{block}.")}


def _gpu(settings: Settings) -> GpuLimits:
    values = _block(settings, "gpu")
    share: Fraction | None = values.pop("equivalents")
    profiles: list[str] | None = values.pop("profiles")
    pools: list[str] = values.pop("pools")
    return GpuLimits(equivalents=share, profiles=None if profiles is None else tuple(profiles), pools=tuple(pools), **values)


def _bind_roots(policy: Policy, user: str, uid: int | None, group: str, home: str | None) -> tuple[BindRoot, ...]:
    roots: dict[str, BindRoot] = {}
    for rule in policy.bind_roots:
        if rule.groups is not None and group not in rule.groups:
            continue
        path = fill(rule.path, user=user, uid=uid, group=group, home=home)
        # Where two roots come out at one place, writing needs both to allow it.
        if path is not None:
            roots[path] = BindRoot(path, rule.writable and roots.get(path, BindRoot(path, True)).writable)
    return tuple(roots.values())
