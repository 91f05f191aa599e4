# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Each kind of mistake is found, at its key, with its value and what would be right; and all of them at once."""

from __future__ import annotations

import copy
import json
from datetime import date, datetime, timezone
from typing import Any

import pytest

from ansible_collections.ds01.infra.tests.unit.core.policy_documents import GOOD, changed, without
from ds01.core.policy_check import canonical_text, check, load
from ds01.core.policy_problems import PolicyError, Problem

NOW = datetime(2030, 6, 1, 12, tzinfo=timezone.utc)


def problems(document: object) -> tuple[Problem, ...]:
    return check(document, now=NOW).problems


def test_the_good_policy_has_no_problem() -> None:
    assert check(GOOD, now=NOW).problems == ()
    assert check(GOOD, now=NOW).policy is not None


def test_the_smallest_policy_is_good() -> None:
    assert problems({"version": 1, "default_group": "all", "groups": {"all": None}}) == ()


SHAPE = [
    ("version", 2, "version", "expected 1"),
    ("version", True, "version", "expected 1"),
    ("default_grup", "student", "default_grup", "did you mean default_group?"),
    ("defaults/gpu/equivalent", 2, "defaults.gpu.equivalent", "did you mean equivalents?"),
    ("defaults/gpus", {}, "defaults.gpus", "did you mean gpu?"),
    ("defaults/zzz", {}, "defaults.zzz", "known here: gpu, container, aggregate, lifecycle"),
    ("defaults", None, "defaults", "null is not possible"),
    ("defaults", [], "defaults", "expected a mapping"),
    ("groups", [], "groups", "expected a mapping from group names"),
    ("groups/Student", {}, "groups.Student", "expected a group name"),
    ("users/a b", {}, "users.a b", "expected a user name"),
    ("users/-rf", {}, "users.-rf", "expected a user name"),
    ("users/a:b", {}, "users.a:b", "expected a user name"),
    ("defaults/gpu/equivalents", -1, "defaults.gpu.equivalents", "expected a number or a fraction"),
    ("defaults/gpu/equivalents", "1/0", "defaults.gpu.equivalents", "expected a number or a fraction"),
    ("defaults/gpu/equivalents", float("nan"), "defaults.gpu.equivalents", "expected a number or a fraction"),
    ("defaults/gpu/equivalents", True, "defaults.gpu.equivalents", "expected a number or a fraction"),
    ("defaults/gpu/devices_per_container", None, "defaults.gpu.devices_per_container", "null is not possible"),
    ("defaults/gpu/devices_per_container", 65, "defaults.gpu.devices_per_container", "a whole number from 0 to 64"),
    ("defaults/gpu/full_gpu", "yes", "defaults.gpu.full_gpu", "expected true or false"),
    ("defaults/gpu/profiles", "1g.5gb", "defaults.gpu.profiles", "expected a list"),
    ("defaults/gpu/profiles", ["1g5gb"], "defaults.gpu.profiles[0]", "expected a MIG profile"),
    ("defaults/gpu/profiles", ["1g.5gb", "1g.5gb"], "defaults.gpu.profiles[1]", "stands here twice"),
    ("defaults/container/memory", 32, "defaults.container.memory", "did you mean 32G?"),
    ("defaults/container/memory", "32GB", "defaults.container.memory", "expected a size with a unit"),
    ("defaults/container/memory", "32 gib", "defaults.container.memory", "expected a size with a unit"),
    ("defaults/container/memory", "-1G", "defaults.container.memory", "expected a size with a unit"),
    ("defaults/container/memory", "0.3B", "defaults.container.memory", "not a whole number of bytes"),
    ("defaults/container/memory", None, "defaults.container.memory", "null is not possible"),
    ("defaults/container/cpus", 0, "defaults.container.cpus", "from 0.01"),
    ("defaults/container/cpus", "4", "defaults.container.cpus", "a number from"),
    ("defaults/aggregate/disk", 500, "defaults.aggregate.disk", "did you mean 500G?"),
    ("defaults/aggregate/io_weight", 0, "defaults.aggregate.io_weight", "from 1 to 10000"),
    ("defaults/lifecycle/idle", 30, "defaults.lifecycle.idle", "did you mean 30m?"),
    ("defaults/lifecycle/idle", "30 m", "defaults.lifecycle.idle", "expected a duration"),
    ("defaults/lifecycle/idle", "30m1h", "defaults.lifecycle.idle", "expected a duration"),
    ("defaults/lifecycle/idle", "", "defaults.lifecycle.idle", "expected a duration"),
    ("defaults/lifecycle/gpu_hold", None, "defaults.lifecycle.gpu_hold", "null is not possible"),
    ("groups/student/match", ["("], "groups.student.match[0]", "this one is not valid"),
    ("groups/student/match", [""], "groups.student.match[0]", "expected a regular expression"),
    ("groups/student/priority", 1.5, "groups.student.priority", "a whole number"),
    ("groups/student/limits", {"gpu": None}, "groups.student.limits.gpu", "expected a mapping"),
    ("kinds/dockr", {}, "kinds.dockr", "did you mean docker?"),
    ("kinds/docker", {"gpu": {}}, "kinds.docker.gpu", "no such key"),
    ("notifications/quota_percent", 0, "notifications.quota_percent", "from 1 to 100"),
    ("notifications/channels", ["pigeon"], "notifications.channels[0]", "one of terminal, container, mail"),
    ("bind_roots", [{"path": "home"}], "bind_roots[0].path", "expected an absolute path"),
    ("bind_roots", [{"path": "/a/../etc"}], "bind_roots[0].path", "expected an absolute path"),
    ("bind_roots", [{"path": "/a/"}], "bind_roots[0].path", "expected an absolute path"),
    ("bind_roots", [{"path": "/a:b"}], "bind_roots[0].path", "expected an absolute path"),
    ("bind_roots", [{"path": "/data", "mode": "r"}], "bind_roots[0].mode", "one of rw, ro"),
    ("bind_roots", [{}], "bind_roots[0].path", "must be set"),
    ("pools", {"batch": {"gpus": [-1]}}, "pools.batch.gpus[0]", "a GPU's index"),
    ("pools", {"batch": {"gpus": ["MIG-1"]}}, "pools.batch.gpus[0]", "a GPU's index"),
    ("pools", {"batch": {}}, "pools.batch.gpus", "must be set"),
    ("gate/mode", "off", "gate.mode", "one of enforce, observe"),
    ("gate/modes", {"images": "off"}, "gate.modes.images", "one of enforce, observe"),
    ("gate/modes", {"binds": "observe"}, "gate.modes.binds", "there is no such"),
    ("gate/modes", ["images"], "gate.modes", "expected"),
    ("network/default", "host", "network.default", "one of per-user, bridge, none"),
    ("images/shared_namespaces", ["DS01"], "images.shared_namespaces[0]", "an image namespace"),
    ("images/registries", ["https://ghcr.io"], "images.registries[0]", "a registry host"),
    ("energy/pue", 0.9, "energy.pue", "from 1 to 5"),
    ("exemptions", [{"user": "a", "from": ["idel"], "reason": "r", "granted_by": "b", "expires": None}], "exemptions[0].from[0]", "one of"),
    (
        "exemptions",
        [{"user": "a", "from": ["idle"], "reason": " ", "granted_by": "b", "expires": None}],
        "exemptions[0].reason",
        "in words",
    ),
    ("exemptions", [{"user": "a", "from": ["idle"], "reason": "r", "granted_by": "b"}], "exemptions[0].expires", "or null (never)"),
    (
        "exemptions",
        [{"user": "a", "from": ["idle"], "reason": "r", "granted_by": "b", "expires": "2030-02-30"}],
        "exemptions[0].expires",
        "day is out of range",
    ),
]


@pytest.mark.parametrize(("path", "value", "key", "message"), SHAPE, ids=[f"{row[2]}={row[1]!r}" for row in SHAPE])
def test_a_wrong_value_is_named(path: str, value: Any, key: str, message: str) -> None:
    found = problems(changed(path, value))
    assert [p.key for p in found] == [key]
    assert message in found[0].message
    assert not found[0].warning
    assert check(changed(path, value)).policy is None


@pytest.mark.parametrize("key", ["version", "default_group", "groups"])
def test_what_must_be_set(key: str) -> None:
    assert [(p.key, "must be set" in p.message) for p in problems(without(key))] == [(key, True)]


@pytest.mark.parametrize("document", [None, [], "policy", 3])
def test_what_is_no_mapping(document: object) -> None:
    assert "expected a mapping" in problems(document)[0].message


def test_a_name_that_yaml_reads_as_a_number() -> None:
    assert [(p.key, p.message) for p in problems(changed("users", {248835: {}}))] == [
        ("users.248835", "the name of a user is text; put it in quotes")
    ]


def test_keys_with_dots_are_quoted() -> None:
    found = problems(changed("users/j.doe@example.org", {"limits": {"gpu": {"full_gpu": 1}}}))
    assert found[0].key == 'users["j.doe@example.org"].limits.gpu.full_gpu'


CROSS = [
    ("default_group", "studnet", "default_group", "did you mean student?"),
    ("default_group", "admin", "default_group", "everybody unknown would be one"),
    ("users/alice/group", "nobody", "users.alice.group", "known: student, researcher, admin"),
    ("groups/student/members", ["r.first"], "groups.researcher.members[0]", "a member of groups.student already"),
    ("groups/admin/match", [".*"], "groups.admin.match", "matches any name"),
    ("defaults/aggregate/memory_high", "65G", "defaults.aggregate.memory_high", "expected at most 64 GiB"),
    ("groups/student/limits", {"aggregate": {"memory_max": "50G"}}, "groups.student.limits.aggregate.memory_max", "at least 60 GiB"),
    ("groups/student/limits", {"container": {"memory": "65G"}}, "groups.student.limits.container.memory", "at most 64 GiB"),
    ("groups/student/limits", {"container": {"cpus": 17}}, "groups.student.limits.container.cpus", "at most 16"),
    ("groups/student/limits", {"container": {"pids": 9000}}, "groups.student.limits.container.pids", "at most 8192"),
    ("groups/student/limits", {"container": {"shm": "33G"}}, "groups.student.limits.container.shm", "at most 32 GiB"),
    ("users/alice/limits/container", {"memory": "321G"}, "users.alice.limits.container.memory", "set in groups.researcher.limits"),
    ("users/someone", {"limits": {"container": {"memory": "999G"}}}, "users.someone.limits.container.memory", "at most 64 GiB"),
    ("defaults/gpu", {"profiles": []}, "defaults.gpu.profiles", "leaves no device at all"),
    ("defaults/gpu", {"pools": ["bach"]}, "defaults.gpu.pools[0]", "known: interactive"),
    ("pools", {"batch": {"gpus": [1]}, "reserved": {"gpus": [0, 1]}}, "pools.reserved.gpus[1]", "in pools.batch already"),
    ("bind_roots", [{"path": "/etc/ds01"}], "bind_roots[0].path", "directory of the system (/etc)"),
    ("bind_roots", [{"path": "/home"}], "bind_roots[0].path", "/home/{user}"),
    ("bind_roots", [{"path": "/var/lib/docker"}], "bind_roots[0].path", "directory of the system"),
    ("bind_roots", [{"path": "/data/{usr}"}], "bind_roots[0].path", "is no placeholder"),
    ("bind_roots", [{"path": "/data/{user"}], "bind_roots[0].path", "left open"),
    ("bind_roots", [{"path": "/data/{home}"}], "bind_roots[0].path", "at the beginning"),
    ("bind_roots", [{"path": "/data", "groups": ["studnt"]}], "bind_roots[0].groups[0]", "did you mean student?"),
]


@pytest.mark.parametrize(("path", "value", "key", "message"), CROSS, ids=[f"{row[2]}={row[1]!r}" for row in CROSS])
def test_settings_that_contradict_each_other(path: str, value: Any, key: str, message: str) -> None:
    mistakes = [p for p in problems(changed(path, value)) if not p.warning]
    assert key in [p.key for p in mistakes]
    assert message in next(p.message for p in mistakes if p.key == key)


EXEMPTION = {"user": "a", "from": ["idle"], "reason": "r", "granted_by": "b", "expires": None}


@pytest.mark.parametrize(
    ("change", "key", "message"),
    [
        ({"group": "student"}, "exemptions[0]", "either user or group"),
        ({"user": None}, "exemptions[0].user", "null is not possible"),
        ({"user": ..., "container": "job"}, "exemptions[0]", "either user or group"),
        ({"user": ..., "group": "student", "container": "job"}, "exemptions[0].container", "anybody could call a container so"),
        ({"container": "job", "from": ["bare_metal"]}, "exemptions[0].from", "outside containers"),
        ({"from": []}, "exemptions[0].from", "exempts from nothing"),
        ({"user": ..., "group": "nobody"}, "exemptions[0].group", "no such group"),
    ],
)
def test_exemptions_that_make_no_sense(change: dict[str, Any], key: str, message: str) -> None:
    exemption = {name: value for name, value in {**EXEMPTION, **change}.items() if value is not ...}
    found = problems(changed("exemptions", [exemption]))
    assert key in [p.key for p in found]
    assert message in next(p.message for p in found if p.key == key)


@pytest.mark.parametrize(
    ("document", "key", "message"),
    [
        (changed("exemptions", [{**EXEMPTION, "expires": "2030-05-31"}]), "exemptions[0].expires", "has passed"),
        (changed("groups/admin/match", ["adm-.*"]), "groups.admin.match", "safer are members"),
        (changed("users/r.first", {"group": "student"}), "groups.researcher.members[0]", "has no effect"),
        (changed("defaults/gpu", {"equivalents": "3/7", "full_gpu": True}), "defaults.gpu.full_gpu", "has no effect"),
        (changed("kinds/docker", {"lifecycle": {"idle": "15m"}}), "kinds.docker.lifecycle.idle", "the warning comes late"),
        (
            changed("users/someone", {"limits": {"container": {"memory": "100G"}}}),
            "users.someone.limits.container.memory",
            "in group student: expected at most 64 GiB",
        ),
    ],
)
def test_what_is_only_a_warning(document: dict[str, Any], key: str, message: str) -> None:
    checked = check(document, now=NOW)
    assert checked.policy is not None
    assert [(p.key, p.warning) for p in checked.problems] == [(key, True)]
    assert message in checked.problems[0].message


def test_an_exemption_that_ends_today_is_not_expired() -> None:
    assert problems(changed("exemptions", [{**EXEMPTION, "expires": "2030-06-01"}])) == ()


def test_a_mistake_in_the_defaults_is_said_once() -> None:
    found = problems(changed("defaults/container/shm", "40G"))
    assert [p.key for p in found] == ["defaults.container.shm"]


def test_all_mistakes_come_at_once_and_name_file_key_value_and_what_is_right() -> None:
    document = changed("defaults/container/memory", 32)
    document["gate"] = {"mode": "off"}
    document["groups"]["student"]["limits"] = {"lifecycle": {"idle": "soon"}}
    with pytest.raises(PolicyError) as caught:
        load(document, "policy.yml")
    lines = str(caught.value).splitlines()
    assert lines[0] == "policy.yml: the policy has 3 mistakes"
    assert lines[1].startswith("policy.yml: defaults.container.memory = 32: expected a size with a unit, such as 512M")
    assert lines[2].startswith('policy.yml: groups.student.limits.lifecycle.idle = "soon": expected a duration')
    assert lines[3] == 'policy.yml: gate.mode = "off": expected one of enforce, observe'


def test_a_check_changes_nothing() -> None:
    before = copy.deepcopy(GOOD)
    check(GOOD, now=NOW)
    canonical_text(GOOD)
    assert before == GOOD


def test_canonical_text_is_the_policy_again_and_does_not_depend_on_the_order_of_keys() -> None:
    turned = dict(reversed(list(GOOD.items())))
    turned["defaults"] = dict(reversed(list(GOOD["defaults"].items())))
    assert canonical_text(turned) == canonical_text(GOOD)
    again = json.loads(canonical_text(GOOD))
    assert again == GOOD
    assert load(again, "x") == load(GOOD, "x")


def test_canonical_text_keeps_the_order_of_groups_which_decides() -> None:
    turned = changed("groups", dict(reversed(list(GOOD["groups"].items()))))
    assert list(json.loads(canonical_text(turned))["groups"]) == ["admin", "researcher", "student"]


def test_dates_as_yaml_reads_them() -> None:
    with_text = changed("exemptions", [{**EXEMPTION, "expires": "2031-03-31"}])
    with_date = changed("exemptions", [{**EXEMPTION, "expires": date(2031, 3, 31)}])
    assert load(with_text, "x") == load(with_date, "x")
    assert canonical_text(with_text) == canonical_text(with_date)
    at_noon = changed("exemptions", [{**EXEMPTION, "expires": "2031-03-31T12:00:00+02:00"}])
    assert load(at_noon, "x").exemptions[0].expires == datetime(2031, 3, 31, 10, tzinfo=timezone.utc)
