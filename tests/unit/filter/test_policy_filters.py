# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The filters: what a play gets, and the errors that it shows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.ds01.infra.plugins.filter import names, policy
from ansible_collections.ds01.infra.tests.unit.core.policy_documents import GOOD, changed

BAD = changed("gate", {"mode": "off", "connections": 0})
EXPIRED = {"user": "a", "from": ["idle"], "reason": "r", "granted_by": "b", "expires": "2001-01-01"}


def test_problems() -> None:
    assert policy.policy_problems(GOOD) == []
    found = policy.policy_problems(BAD)
    assert found[0] == 'ds01_policy: gate.mode = "off": expected one of enforce, observe'
    assert len(found) == 2


def test_warnings_are_no_mistakes() -> None:
    document = changed("exemptions", [EXPIRED])
    assert policy.policy_problems(document) == []
    warnings = policy.policy_problems(document, warnings=True)
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: ds01_policy: exemptions[0].expires")


def test_json() -> None:
    text = policy.policy_json(GOOD)
    assert json.loads(text) == GOOD
    assert text.endswith("}\n")
    with pytest.raises(AnsibleFilterError, match=r"(?s)2 mistakes.*gate\.mode.*gate\.connections"):
        policy.policy_json(BAD)


def test_limits() -> None:
    people = [{"name": "alice", "uid": 7, "home": "/home/alice"}, {"name": "bob", "linux_groups": ["researchers"]}]
    alice, bob = policy.policy_limits(GOOD, people)
    assert (alice["user"], alice["uid"], alice["group"], alice["gpu"]["equivalents"]) == ("alice", 7, "researcher", "1")
    assert alice["aggregate"]["memory_max"] == 320 * 2**30
    assert alice["bind_roots"] == [{"path": "/home/alice", "writable": True}]
    assert (bob["uid"], bob["group"], bob["lifecycle"]["idle"]) == (None, "researcher", None)
    json.dumps([alice, bob])


@pytest.mark.parametrize("people", [["alice"], [{"uid": 1}], [{"name": 7}]])
def test_limits_of_what_is_no_person(people: list[Any]) -> None:
    with pytest.raises(AnsibleFilterError, match="expected a mapping with name"):
        policy.policy_limits(GOOD, people)


def test_limits_of_a_bad_policy() -> None:
    with pytest.raises(AnsibleFilterError, match="2 mistakes"):
        policy.policy_limits(BAD, [])


def test_safe_name() -> None:
    assert names.safe_name("h.baker@example.org", 20002) == "h-baker-u20002"


@pytest.mark.parametrize(("user", "uid"), [(7, 7), ("a", "7"), ("a", True), ("", 7), ("a", -1)])
def test_safe_name_of_what_is_no_person(user: Any, uid: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="expected"):
        names.safe_name(user, uid)
