# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over the policy: its mistakes, the text of policy.json, and what it says about people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.ds01.infra.plugins.module_utils.core.policy_check import canonical_text, check, load
from ansible_collections.ds01.infra.plugins.module_utils.core.policy_problems import PolicyError
from ansible_collections.ds01.infra.plugins.module_utils.core.policy_resolve import resolve

VARIABLE = "ds01_policy"


def policy_problems(document: Any, warnings: bool = False) -> list[str]:
    """Every mistake of a policy, one line each; the warnings instead where ``warnings`` is set."""
    problems = check(document, now=datetime.now(timezone.utc)).problems
    return [problem.text(VARIABLE) for problem in problems if problem.warning == warnings]


def policy_json(document: Any) -> str:
    """The text of policy.json; fails with every mistake of the policy."""
    try:
        load(document, VARIABLE)
    except PolicyError as error:
        raise AnsibleFilterError(str(error)) from error
    return canonical_text(document)


def policy_limits(document: Any, people: Any) -> list[dict[str, Any]]:
    """What holds for people now: one mapping a person, sizes in bytes, durations in seconds, shares as text, null without limit."""
    try:
        policy = load(document, VARIABLE)
    except PolicyError as error:
        raise AnsibleFilterError(str(error)) from error
    now = datetime.now(timezone.utc)
    return [_limits(policy, person, now) for person in people]


def _limits(policy: Any, person: Any, now: datetime) -> dict[str, Any]:
    if not isinstance(person, Mapping) or not isinstance(person.get("name"), str):
        raise AnsibleFilterError(
            f"policy_limits: {person!r} is not a person; expected a mapping with name, and where known uid, home and linux_groups"
        )
    limits = resolve(
        policy,
        str(person["name"]),
        now=now,
        uid=person.get("uid"),
        home=person.get("home"),
        linux_groups=tuple(person.get("linux_groups") or ()),
    )
    found: dict[str, Any] = json.loads(json.dumps(asdict(limits), default=str))
    return {"uid": person.get("uid"), **found}


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name → function."""
        return {"policy_problems": policy_problems, "policy_json": policy_json, "policy_limits": policy_limits}
