# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""From a document to a ``Policy``, or to every mistake in it at once.

Two steps: the shape (``policy_shape``: keys and values, each for itself), and, where the shape is right, what relates settings to
each other (``policy_cross_checks``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .policy_cross_checks import cross_check
from .policy_model import BindRootRule, Exemption, GateSettings, Group, Notifications, Policy, User
from .policy_problems import PolicyError, Problem
from .policy_schema import POLICY
from .policy_shape import MISSING, ShapeReader, plain


@dataclass(frozen=True)
class Checked:
    """What a check found. ``policy`` is None where there is a mistake; warnings alone leave it usable."""

    policy: Policy | None
    problems: tuple[Problem, ...]


def check(document: object, *, now: datetime | None = None) -> Checked:
    """Check a policy (the value of ``ds01_policy``). ``now`` (UTC) is for the warning about expired exemptions."""
    reader = ShapeReader()
    tree = reader.read(POLICY, document, "")
    if reader.problems or tree is MISSING:
        return Checked(None, tuple(reader.problems))
    policy = _policy(tree)
    problems = tuple(cross_check(policy, now))
    return Checked(None if any(not p.warning for p in problems) else policy, problems)


def load(document: object, file: str, *, now: datetime | None = None) -> Policy:
    """The policy; raises PolicyError with every mistake. ``file`` is what the mistakes are said to stand in."""
    checked = check(document, now=now)
    if checked.policy is None:
        raise PolicyError(file, checked.problems)
    return checked.policy


def canonical_text(document: object) -> str:
    """The text of policy.json for a checked document: as written, keys in the order of the reference, so that diffs are small."""
    return json.dumps(plain(POLICY, document), indent=2, ensure_ascii=False) + "\n"


def _policy(tree: dict[str, Any]) -> Policy:
    images = tree["images"]
    return Policy(
        default_group=tree["default_group"],
        defaults=tree["defaults"],
        groups=tuple(
            Group(
                name=name,
                priority=group["priority"],
                admin=group["admin"],
                members=tuple(group["members"]),
                linux_groups=tuple(group["linux_groups"]),
                match=tuple(group["match"]),
                limits=group["limits"],
            )
            for name, group in tree["groups"].items()
        ),
        users={name: User(name, user["group"], user["limits"]) for name, user in tree["users"].items()},
        kinds={name: {f"lifecycle.{key}": value for key, value in kind["lifecycle"].items()} for name, kind in tree["kinds"].items()},
        exemptions=tuple(_exemption(item) for item in tree["exemptions"]),
        notifications=_notifications(tree["notifications"]),
        bind_roots=tuple(
            BindRootRule(root["path"], root["mode"] == "rw", None if root["groups"] is None else tuple(root["groups"]))
            for root in tree["bind_roots"]
        ),
        pools={name: tuple(pool["gpus"]) for name, pool in tree["pools"].items()},
        gate=_gate(tree["gate"]),
        network_default=tree["network"]["default"],
        shared_namespaces=tuple(images["shared_namespaces"]),
        registries=None if images["registries"] is None else tuple(images["registries"]),
        grid_gco2e_per_kwh=tree["energy"]["grid_gco2e_per_kwh"],
        pue=tree["energy"]["pue"],
    )


def _exemption(item: dict[str, Any]) -> Exemption:
    return Exemption(
        user=item["user"],
        group=item["group"],
        container=item["container"],
        rules=frozenset(item["from"]),
        reason=item["reason"],
        granted_by=item["granted_by"],
        expires=item["expires"],
    )


def _notifications(item: dict[str, Any]) -> Notifications:
    return Notifications(item["quota_percent"], item["idle_warning"], item["runtime_warning"], tuple(item["channels"]))


def _gate(item: dict[str, Any]) -> GateSettings:
    observed = frozenset(name for name, mode in item["modes"].items() if (mode or item["mode"]) == "observe")
    return GateSettings(observed, item["connections"], item["creates_per_minute"], item["builds"], item["queue_hold"])
