# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The one name made from a person's name: valid everywhere, never shared, and plain where it can be (CLI-09)."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ds01.core.user_names import MAX_LENGTH, MAX_UID, container_host_name, container_prefix, network_name, safe_name, without_domain

# reference.go of github.com/distribution/reference; names.go of github.com/moby/moby; RFC 1123, 2.1; systemd.unit(5).
DOCKER_COMPONENT = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
DOCKER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
SYSTEMD = re.compile(r"[a-zA-Z0-9:_.-]+")

uids = st.integers(0, MAX_UID)
# Mostly names that are close to each other and to what a made name looks like; some that are anything.
near = st.text("aAbj.doe_-@u12", min_size=1, max_size=12)
names = near | near.map(lambda name: f"{name}@example.org") | near.map(lambda name: f"{name}-u5") | st.text(min_size=1, max_size=60)


@given(st.tuples(names, uids), st.tuples(names, uids))
@example(("j.doe", 1), ("j_doe", 2))
@example(("j.doe@a", 11), ("j.doe@b", 1))
@example(("a-u5", 7), ("a.", 5))
@example(("a", 7), ("a@x", 8))
@example(("x" * 33, 1), ("x" * 33 + "y", 11))
@example(("a-u1", 1), ("a-u1-u1", 2))
def test_two_people_never_share_a_name(one: tuple[str, int], other: tuple[str, int]) -> None:
    if one[0] != other[0] and one[1] != other[1]:
        assert safe_name(*one) != safe_name(*other)
        assert container_prefix(*one) != container_prefix(*other)
        assert not container_prefix(*one).startswith(container_prefix(*other))


@given(names, uids)
def test_it_is_valid_everywhere(name: str, uid: int) -> None:
    made = safe_name(name, uid)
    assert len(made) <= MAX_LENGTH
    for rule in (DOCKER_COMPONENT, HOST_LABEL, SYSTEMD):
        assert rule.fullmatch(made), (rule.pattern, made)
    assert DOCKER_NAME.fullmatch(container_prefix(name, uid) + "x")
    assert DOCKER_NAME.fullmatch(network_name(name, uid))
    assert made not in ("library", "ds01", "localhost", "root")


@given(names, uids, st.text(min_size=1, max_size=200))
def test_host_names_are_valid(name: str, uid: int, container: str) -> None:
    assert HOST_LABEL.fullmatch(container_host_name(name, uid, container))


@given(names, uids)
def test_it_is_the_same_each_time(name: str, uid: int) -> None:
    assert safe_name(name, uid) == safe_name(name, uid)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alice", "alice"),
        ("student1", "student1"),
        ("mary-jane", "mary-jane"),
        ("h.baker", "h-baker-u7"),
        ("j_doe", "j-doe-u7"),
        ("248835@hertie-school.lan", "248835-u7"),
        ("h.baker@hertie-school.lan", "h-baker-u7"),
        ("HERTIE\\h.baker", "h-baker-u7"),
        ("Alice", "alice-u7"),
        ("248835", "248835-u7"),
        ("jörg", "jorg-u7"),
        ("王", "user-u7"),
        ("a--b", "a-b-u7"),
        ("-rf", "rf-u7"),
        ("..", "user-u7"),
        ("alice-u7", "alice-u7-u7"),
        ("root", "root-u7"),
        ("library", "library-u7"),
        ("a" * 32, "a" * 32),
        ("alice\n", "alice-u7"),
    ],
)
def test_examples(name: str, expected: str) -> None:
    assert safe_name(name, 7) == expected


def test_a_long_name_is_shortened_with_a_digest() -> None:
    made = safe_name("wilhelmina.constantinopolitana.longname@example.org", 20004)
    assert re.fullmatch(r"wilhelmina-const[a-z]*-[0-9a-f]{6}-u20004", made)
    assert len(made) == MAX_LENGTH


@pytest.mark.parametrize(("name", "uid"), [("", 1), ("a", -1), ("a", 2**32 - 1)])
def test_what_is_no_person(name: str, uid: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        safe_name(name, uid)


@pytest.mark.parametrize(("name", "expected"), [("a@b", "a"), ("B\\a", "a"), ("a", "a"), ("@b", "@b")])
def test_without_domain(name: str, expected: str) -> None:
    assert without_domain(name) == expected
