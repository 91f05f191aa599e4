# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Resolution: which layer wins, that the source is told truly, and when exemptions hold. Much of it as properties over random policies."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ds01.infra.tests.unit.core.policy_documents import GOOD, changed
from ds01.core.limits import BindRoot, Limits
from ds01.core.policy_check import check, load
from ds01.core.policy_groups import group_of, possible_groups
from ds01.core.policy_layers import built_in, lay
from ds01.core.policy_model import Policy
from ds01.core.policy_resolve import resolve

NOW = datetime(2030, 6, 1, 12, tzinfo=timezone.utc)
BASE = load({"version": 1, "default_group": "a", "groups": {"a": {}, "b": {"linux_groups": ["lb"]}, "c": {"match": ["c.*"]}}}, "x")
# Settings that may be null and those that may not, with values that differ from the built-in ones.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "gpu.equivalents": st.none() | st.fractions(0, 8, max_denominator=7),
    "gpu.full_gpu": st.booleans(),
    "container.count": st.none() | st.integers(0, 50),
    "container.memory": st.integers(1, 2**40),
    "aggregate.memory_max": st.none() | st.integers(1, 2**40),
    "lifecycle.idle": st.none() | st.integers(0, 10**6),
    "lifecycle.runtime": st.none() | st.integers(0, 10**6),
}
LIFECYCLE = {key: value for key, value in VALUES.items() if key.startswith("lifecycle.")}


def layers(values: dict[str, st.SearchStrategy[Any]] = VALUES) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=values)


def policy_of(defaults: dict[str, Any], group: dict[str, Any], user: dict[str, Any], kind: dict[str, Any]) -> Policy:
    groups = tuple(replace(g, limits=group) if g.name == "a" else g for g in BASE.groups)
    users = {"u": load(changed("users/u", {}), "x").users["u"]}
    users = {"u": replace(users["u"], limits=user)}
    return replace(BASE, defaults=defaults, groups=groups, users=users, kinds={**BASE.kinds, "batch": kind})


def value(limits: Limits, key: str) -> Any:
    block, name = key.split(".")
    return getattr(getattr(limits, block), name)


@given(layers(), layers(), layers(), layers(LIFECYCLE))
def test_the_last_layer_that_speaks_wins_and_is_named(
    defaults: dict[str, Any], group: dict[str, Any], user: dict[str, Any], kind: dict[str, Any]
) -> None:
    found = resolve(policy_of(defaults, group, user, kind), "u", now=NOW, kind="batch")
    # The oracle is written the other way round: from the strongest layer down to the first that has the key.
    order = [("kinds.batch", kind), ("users.u", user), ("groups.a", group), ("defaults", defaults), ("built-in", built_in())]
    for key in VALUES:
        source, layer = next((name, layer) for name, layer in order if key in layer)
        assert value(found, key) == layer[key], key
        assert found.sources[key] == source, key


@given(layers(), layers(), layers(), layers(LIFECYCLE))
def test_removing_an_override_restores_what_lies_below(
    defaults: dict[str, Any], group: dict[str, Any], user: dict[str, Any], kind: dict[str, Any]
) -> None:
    without = resolve(policy_of(defaults, group, {}, kind), "u", now=NOW)
    for key in user:
        only_others = {other: item for other, item in user.items() if other != key}
        found = resolve(policy_of(defaults, group, only_others, kind), "u", now=NOW)
        assert value(found, key) == value(without, key)
        assert found.sources[key] == without.sources[key]


@given(layers(), layers(), layers(), layers(LIFECYCLE))
def test_resolution_is_a_function_and_leaves_the_policy_as_it_is(
    defaults: dict[str, Any], group: dict[str, Any], user: dict[str, Any], kind: dict[str, Any]
) -> None:
    policy = policy_of(dict(defaults), dict(group), dict(user), dict(kind))
    first = resolve(policy, "u", now=NOW, kind="batch")
    again = resolve(policy, "u", now=NOW, kind="batch")
    assert first == again
    assert first.sources == again.sources
    assert policy == policy_of(defaults, group, user, kind)


@given(layers())
def test_laying_a_layer_twice_is_laying_it_once(layer: dict[str, Any]) -> None:
    assert lay([("x", layer), ("x", layer)]) == lay([("x", layer)])


@given(st.sampled_from([key for key in VALUES if key not in ("gpu.full_gpu", "container.memory")]))
def test_null_beats_a_number_only_from_a_later_layer(key: str) -> None:
    number = Fraction(3) if key == "gpu.equivalents" else 3
    assert value(resolve(policy_of({key: number}, {key: None}, {}, {}), "u", now=NOW), key) is None
    assert value(resolve(policy_of({key: None}, {key: number}, {}, {}), "u", now=NOW), key) == number
    assert value(resolve(policy_of({key: None}, {}, {}, {}), "u", now=NOW), key) is None


@given(layers(), layers(), st.text(min_size=1, max_size=20).filter(lambda name: name != "u" and not name.startswith("c")))
def test_nobody_knows_them_so_they_get_the_default_group(defaults: dict[str, Any], group: dict[str, Any], name: str) -> None:
    found = resolve(policy_of(defaults, group, {"gpu.equivalents": Fraction(99)}, {}), name, now=NOW)
    assert found.group == "a"
    assert found.sources["group"] == "default_group"
    assert found.admin is False
    assert found.gpu.equivalents != 99


def test_every_setting_has_a_source_and_a_place_in_limits() -> None:
    found = resolve(BASE, "someone", now=NOW)
    for block in ("gpu", "container", "aggregate", "lifecycle"):
        assert {f"{block}.{name}" for name in asdict(getattr(found, block))} == {
            key for key in found.sources if key.startswith(f"{block}.")
        }


GROUPS = load(
    {
        "version": 1,
        "default_group": "last",
        "groups": {
            "one": {"linux_groups": ["l1", "shared"], "match": ["m.*"]},
            "two": {"linux_groups": ["l2", "shared"], "members": ["mia", "tom"], "match": ["m.*", "t"]},
            "last": {},
        },
        "users": {"tom": {"group": "last"}, "max": {}},
    },
    "x",
)


@pytest.mark.parametrize(
    ("user", "linux_groups", "group", "chosen_by"),
    [
        ("tom", ("l1",), "last", "users"),
        ("mia", ("l1",), "two", "members"),
        ("ann", ("l2",), "two", "Linux group l2"),
        ("ann", ("l2", "l1"), "one", "Linux group l1"),
        ("ann", ("shared",), "one", "Linux group shared"),
        ("max", ("l2",), "two", "Linux group l2"),
        ("max", (), "one", "rule m.*"),
        ("t", (), "two", "rule t"),
        ("tt", (), "last", "default_group"),
        ("at", (), "last", "default_group"),
        ("t\n", (), "last", "default_group"),
        ("ann", ("docker", "sudo"), "last", "default_group"),
        ("Mia", (), "last", "default_group"),
    ],
)
def test_which_group(user: str, linux_groups: tuple[str, ...], group: str, chosen_by: str) -> None:
    found, why = group_of(GROUPS, user, linux_groups)
    assert (found.name, why) == (group, chosen_by)


@given(st.sampled_from(["tom", "mia", "max", "ann", "t"]), st.sets(st.sampled_from(["l1", "l2", "shared", "docker"])))
def test_the_group_is_always_among_the_possible_ones(user: str, linux_groups: set[str]) -> None:
    assert group_of(GROUPS, user, linux_groups)[0] in possible_groups(GROUPS, user)


def exempt(**change: Any) -> Policy:
    item = {"user": "u", "from": ["idle"], "reason": "why", "granted_by": "who", "expires": "2030-06-01T13:00:00Z", **change}
    return load(changed("exemptions", [{name: part for name, part in item.items() if part is not ...}]), "x")


@pytest.mark.parametrize(
    ("change", "kwargs", "idle_lifted"),
    [
        ({}, {}, True),
        ({}, {"now": datetime(2030, 6, 1, 13, tzinfo=timezone.utc)}, False),
        ({}, {"now": datetime(2030, 6, 1, 13, tzinfo=timezone.utc) - timedelta(microseconds=1)}, True),
        ({}, {"now": datetime(2030, 6, 1, 14, 30, tzinfo=timezone(timedelta(hours=2)))}, True),
        ({}, {"now": datetime(2030, 6, 1, 15, 30, tzinfo=timezone(timedelta(hours=2)))}, False),
        ({"expires": None}, {"now": datetime(2999, 1, 1, tzinfo=timezone.utc)}, True),
        ({"expires": "2030-06-01"}, {"now": datetime(2030, 6, 1, 23, 59, tzinfo=timezone.utc)}, True),
        ({"expires": "2030-06-01"}, {"now": datetime(2030, 6, 2, tzinfo=timezone.utc)}, False),
        ({"user": "other"}, {}, False),
        ({"user": ..., "group": "student"}, {}, True),
        ({"user": ..., "group": "researcher"}, {}, False),
        ({"from": ["runtime"]}, {}, False),
        ({"container": "demo"}, {}, False),
        ({"container": "demo"}, {"container": "demo"}, True),
        ({"container": "demo"}, {"container": "demo2"}, False),
        ({}, {"container": "anything"}, True),
    ],
)
def test_when_an_exemption_holds(change: dict[str, Any], kwargs: dict[str, Any], idle_lifted: bool) -> None:
    found = resolve(exempt(**change), "u", **{"now": NOW, **kwargs})
    assert (found.lifecycle.idle is None) is idle_lifted
    assert found.sources["lifecycle.idle"].startswith("exemption ") is idle_lifted
    assert found.bare_metal is False


def test_an_exemption_beats_the_kind_and_tells_until_when() -> None:
    found = resolve(exempt(**{"from": ["idle", "runtime", "bare_metal"]}), "u", now=NOW, kind="batch")
    assert (found.lifecycle.idle, found.lifecycle.runtime, found.bare_metal) == (None, None, True)
    assert found.sources["lifecycle.runtime"] == "exemption until 2030-06-01 13:00 UTC (why)"
    assert found.expires == datetime(2030, 6, 1, 13, tzinfo=timezone.utc).timestamp()
    assert resolve(exempt(expires=None), "u", now=NOW).expires is None


def test_a_time_without_zone_and_a_kind_that_there_is_not_are_refused() -> None:
    with pytest.raises(ValueError, match="expected UTC"):
        resolve(BASE, "u", now=datetime(2030, 1, 1))
    with pytest.raises(ValueError, match="expected one of docker, compose"):
        resolve(BASE, "u", now=NOW, kind="podman")


def roots(rules: list[dict[str, Any]], **facts: Any) -> tuple[BindRoot, ...]:
    policy = load(changed("bind_roots", rules), "x")
    return resolve(policy, **{"user": "j.doe", "uid": 7, "home": "/home/x.lan/j.doe", "now": NOW, **facts}).bind_roots


def test_bind_roots_are_filled_in() -> None:
    rules = [{"path": "{home}"}, {"path": "/scratch/{user}"}, {"path": "/data/{group}/u{uid}", "mode": "ro"}]
    assert roots(rules) == (BindRoot("/home/x.lan/j.doe", True), BindRoot("/scratch/j.doe", True), BindRoot("/data/student/u7", False))


@pytest.mark.parametrize(
    "facts",
    [
        {"home": None},
        {"home": ""},
        {"home": "/"},
        {"home": "/home"},
        {"home": "/etc"},
        {"home": "/root"},
        {"home": "/home/../etc"},
        {"home": "/home//x"},
        {"home": "/home/x/"},
        {"home": "home/x"},
        {"home": "/home/{user}"},
    ],
)
def test_an_unsafe_home_is_no_bind_root(facts: dict[str, Any]) -> None:
    assert roots([{"path": "{home}"}], **facts) == ()


@pytest.mark.parametrize("user", ["..", ".", "a/b", "../../etc", "{home}"])
def test_an_unsafe_name_is_no_bind_root(user: str) -> None:
    assert roots([{"path": "/scratch/{user}"}], user=user) == ()


def test_bind_roots_of_groups_and_the_stricter_of_two() -> None:
    assert roots([{"path": "/data", "groups": ["researcher"]}]) == ()
    assert roots([{"path": "/data", "groups": ["student"]}]) == (BindRoot("/data", True),)
    assert roots([{"path": "/data/{user}", "mode": "ro"}, {"path": "/data/j.doe"}]) == (BindRoot("/data/j.doe", False),)


def test_pools() -> None:
    uuid = "GPU-00000000-0000-0000-0000-00000000000a"
    policy = load(changed("pools", {"batch": {"gpus": [3]}, "reserved": {"gpus": [uuid]}}), "x")
    assert [policy.pool_of(3, "GPU-x"), policy.pool_of(0, uuid), policy.pool_of(0, "GPU-x")] == ["batch", "reserved", "interactive"]


def test_what_the_good_policy_says() -> None:
    policy = load(GOOD, "x")
    alice = resolve(policy, "alice", now=NOW)
    assert (alice.group, alice.gpu.equivalents, alice.gpu.full_gpu, alice.aggregate.memory_max) == ("researcher", 1, True, 320 * 2**30)
    assert alice.sources["gpu.equivalents"] == "users.alice"
    assert resolve(policy, "123456@example.org", now=NOW).group == "student"
    assert resolve(policy, "root2", now=NOW).admin is True
    assert check(GOOD).problems == ()
