# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Every ioctl but those that leave a project quota stays allowed, whatever stands in the upper half of the argument."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ds01.core.oci_seccomp import FORBIDDEN_REQUESTS, all_but, keep_projects

_SETXATTR = 0x401C5820
_TIOCGWINSZ, _GETXATTR, _GETFLAGS = 0x5413, 0x801C581F, 0x80086601
_LONG = st.integers(0, 2**64 - 1)


def _spec(*syscalls: dict[str, Any]) -> dict[str, Any]:
    return {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(syscalls)}}}


def _allow(*names: str, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", **more}


def _allows(spec: dict[str, Any], name: str, request: int) -> bool:
    """What libseccomp makes of the rules: any that matches allows; comparisons are of 64 bits (seccomp_rule_add(3))."""
    for entry in spec["linux"]["seccomp"]["syscalls"]:
        if name in entry["names"] and entry["action"] == "SCMP_ACT_ALLOW":
            comparisons = entry.get("args") or []
            assert all(one["index"] == 1 and one["op"] == "SCMP_CMP_MASKED_EQ" for one in comparisons)
            if all(request & one["value"] == one["valueTwo"] for one in comparisons):
                return True
    return False


def _kept(*syscalls: dict[str, Any]) -> dict[str, Any]:
    spec = _spec(*syscalls)
    keep_projects(spec)
    return spec


@given(st.sets(st.integers(0, 2**32 - 1), min_size=1, max_size=5), _LONG)
def test_the_pairs_leave_out_exactly_the_values(values: set[int], number: int) -> None:
    pairs = list(all_but(tuple(values)))
    assert any(number & mask == datum for mask, datum in pairs) is (number % 2**32 not in values)
    for value in values:
        assert not any((number >> 32 << 32 | value) & mask == datum for mask, datum in pairs)
        for bit in range(32):
            near = value ^ 1 << bit
            assert any(near & mask == datum for mask, datum in pairs) is (near not in values)


@given(st.integers(0, 2**32 - 1))
def test_upper_bits_do_not_let_a_forbidden_request_through(upper: int) -> None:
    spec = _kept(_allow("read", "ioctl"))
    for request in FORBIDDEN_REQUESTS:
        assert not _allows(spec, "ioctl", upper << 32 | request)
    for request in (_TIOCGWINSZ, _GETXATTR, _GETFLAGS):
        assert _allows(spec, "ioctl", upper << 32 | request)


def test_other_calls_stay_as_they_were() -> None:
    denied = {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 0x5412, "op": "SCMP_CMP_EQ"}]}
    personality = _allow("personality", args=[{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}])
    spec = _kept(_allow("read", "ioctl", "write"), personality, denied)
    assert spec["linux"]["seccomp"]["syscalls"][:3] == [_allow("read", "write"), personality, denied]


def test_the_newer_call_for_the_same_is_never_allowed() -> None:
    spec = _kept(_allow("file_getattr", "file_setattr"), _allow("file_setattr"))
    assert spec["linux"]["seccomp"]["syscalls"] == [_allow("file_getattr")]


def test_conditional_and_logged_permissions_of_ioctl_are_no_way_around() -> None:
    conditional = _allow("ioctl", args=[{"index": 1, "value": _SETXATTR, "op": "SCMP_CMP_EQ"}])
    logged = {"names": ["ioctl", "read"], "action": "SCMP_ACT_LOG"}
    spec = _kept(conditional, logged)
    assert spec["linux"]["seccomp"]["syscalls"] == [{"names": ["read"], "action": "SCMP_ACT_LOG"}]


def test_a_second_time_changes_nothing() -> None:
    spec = _kept(_allow("read", "ioctl"))
    again = copy.deepcopy(spec)
    keep_projects(again)
    assert again == spec


def test_a_spec_without_a_filter_is_left_to_the_rule_that_refuses_it() -> None:
    for spec in ({}, {"linux": {}}, {"linux": {"seccomp": None}}, _spec()):
        before = copy.deepcopy(spec)
        keep_projects(spec)
        assert spec == before
