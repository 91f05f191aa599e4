# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The policy as the programs use it: parsed values (bytes, seconds, exact shares), made by ``policy_check.load``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .policy_schema import DEFAULT_POOL

Layer = Mapping[str, Any]
"""Part of a limits block: dotted key (``gpu.equivalents``) → parsed value. A key that is absent says nothing; None is a value."""


@dataclass(frozen=True)
class Group:
    """A group. ``match`` holds regular expressions that the whole user name must match."""

    name: str
    priority: int
    admin: bool
    members: tuple[str, ...]
    linux_groups: tuple[str, ...]
    match: tuple[str, ...]
    limits: Layer


@dataclass(frozen=True)
class User:
    """What the policy says about one person by name. ``group`` None: found by membership and rules."""

    name: str
    group: str | None
    limits: Layer


@dataclass(frozen=True)
class Exemption:
    """Lets a user, a group, or one container of a user off the rules in ``rules``, until ``expires`` (UTC; None: for ever)."""

    user: str | None
    group: str | None
    container: str | None
    rules: frozenset[str]
    reason: str
    granted_by: str
    expires: datetime | None


@dataclass(frozen=True)
class Notifications:
    """``quota_percent`` of any quota; warnings in seconds before the event; ``channels``: terminal, container, mail."""

    quota_percent: int
    idle_warning: int
    runtime_warning: int
    channels: tuple[str, ...]


@dataclass(frozen=True)
class BindRootRule:
    """A bind root with placeholders not yet filled in. ``groups`` None: for everybody."""

    path: str
    writable: bool
    groups: tuple[str, ...] | None


@dataclass(frozen=True)
class GateSettings:
    """``observed``: the groups of rules (``policy_schema.OBSERVABLE``) whose refusals are only logged. ``queue_hold`` is in seconds.

    The rest is per person.
    """

    observed: frozenset[str]
    connections: int
    creates_per_minute: int
    builds: int
    queue_hold: int


@dataclass(frozen=True)
class Policy:
    """The whole policy. ``groups`` keep the order of the file, which is the order in which membership rules are tried."""

    default_group: str
    defaults: Layer
    groups: tuple[Group, ...]
    users: Mapping[str, User]
    kinds: Mapping[str, Layer]
    exemptions: tuple[Exemption, ...]
    notifications: Notifications
    bind_roots: tuple[BindRootRule, ...]
    pools: Mapping[str, tuple[int | str, ...]]
    gate: GateSettings
    network_default: str
    shared_namespaces: tuple[str, ...]
    registries: tuple[str, ...] | None
    grid_gco2e_per_kwh: float
    pue: float

    def group(self, name: str) -> Group | None:
        """The group of that name, or None."""
        return next((g for g in self.groups if g.name == name), None)

    def pool_of(self, index: int, uuid: str) -> str:
        """The pool of a GPU; ``interactive`` where no pool lists it."""
        return next((name for name, gpus in self.pools.items() if index in gpus or uuid in gpus), DEFAULT_POOL)
