# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which limits the kernel ought to have, and which person is how full: by example and by property."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.disk_plan import BLOCK, LARGEST_UID, PROJECT_BASE, DiskUse, Kind, Quota, Root, fullest, plan, project_of, rounded, why_not
from ds01.disk_quota import DiskSettingsError, roots, usage

BOTH = frozenset(Kind)
UIDS = st.integers(1, LARGEST_UID)
LIMITS = st.none() | st.integers(0, 2**50)


def test_only_what_differs_changes_and_both_counters_are_held() -> None:
    present = {(Kind.USER, 1001): Quota(5, 10 * BLOCK), (Kind.PROJECT, 1001): Quota(5, None), (Kind.USER, 1002): Quota(9, 7 * BLOCK)}
    steps = plan({1001: 10 * BLOCK, 1002: None}, Root("/home", "xfs", BOTH), present)
    assert [(s.kind, s.uid, s.before, s.after) for s in steps] == [
        (Kind.USER, 1002, 7 * BLOCK, None),
        (Kind.PROJECT, 1001, None, 10 * BLOCK),
    ]


def test_whose_limits_are_not_known_keeps_what_they_have() -> None:
    present = {(Kind.USER, 1009): Quota(5, 10 * BLOCK)}
    assert plan({}, Root("/home", "xfs", BOTH), present) == ()


def test_a_filesystem_without_quotas_gets_no_limits_and_says_what_is_to_be_done() -> None:
    root = Root("/home", "xfs", frozenset(), why_not("xfs"))
    assert plan({1001: BLOCK}, root, {}) == ()
    assert "uquota,pquota" in root.says and "/etc/fstab" in root.says
    assert "prjquota" in why_not("ext4") and "tmpfs" in why_not("tmpfs")


@pytest.mark.parametrize("uid", [0, -1, LARGEST_UID + 1])
def test_root_and_uids_that_are_too_large_have_no_project(uid: int) -> None:
    with pytest.raises(ValueError, match=str(uid)):
        project_of(uid)
    assert plan({uid: BLOCK}, Root("/home", "xfs", BOTH), {}) == ()


@given(st.dictionaries(UIDS, LIMITS, max_size=5))
def test_what_was_done_is_not_done_again(limits: dict[int, int | None]) -> None:
    root = Root("/home", "xfs", BOTH)
    after = {(s.kind, s.uid): Quota(0, s.after) for s in plan(limits, root, {})}
    assert plan(limits, root, after) == ()
    for (_, uid), quota in after.items():
        wanted = limits[uid]
        assert quota.limit_bytes is not None and wanted is not None
        assert quota.limit_bytes % BLOCK == 0 and BLOCK <= quota.limit_bytes <= max(BLOCK, wanted)


@given(UIDS, UIDS)
def test_projects_tell_people_apart_and_keep_clear_of_docker_s(one: int, other: int) -> None:
    assert (project_of(one) == project_of(other)) == (one == other)
    assert PROJECT_BASE < project_of(one) < 2**32 - 1


def test_no_limit_is_never_rounded_to_and_less_than_a_block_is_one() -> None:
    assert rounded(None) is None and rounded(1) == BLOCK and rounded(0) == BLOCK and rounded(3 * BLOCK + 5) == 3 * BLOCK


def test_the_fullest_counts_and_a_limit_goes_before_none() -> None:
    quotas = [("/home", Quota(50, 100)), ("/scratch", Quota(80, 100)), ("/data", Quota(10**9, None))]
    assert fullest(quotas) == DiskUse(80, 100, "/scratch")
    assert fullest([("/data", Quota(7, None))]) == DiskUse(7, None, "/data") and fullest([]) is None


class OwnOnly:
    """A kernel that tells the caller about their own user quota alone, as Linux does."""

    def enforced(self, directory: str) -> frozenset[Kind]:
        if directory == "/gone":
            raise FileNotFoundError(2, "gone", directory)
        return BOTH

    def get(self, directory: str, kind: Kind, number: int) -> Quota:
        if kind is not Kind.USER:
            raise PermissionError(1, "not for you", directory)
        return Quota(number, 4096)

    def set(self, directory: str, kind: Kind, number: int, limit_bytes: int | None) -> None:
        raise AssertionError("reading changes nothing")


def test_a_person_reads_what_they_may_and_a_missing_root_costs_nothing(tmp_path: Path) -> None:
    settings = tmp_path / "disk_quota.json"
    assert usage(1001, settings, OwnOnly()) is None
    settings.write_text(json.dumps({"roots": ["/gone", "/home"]}))
    assert usage(1001, settings, OwnOnly()) == DiskUse(1001, 4096, "/home")
    assert usage(0, settings, OwnOnly()) is None


@pytest.mark.parametrize("text", ["", "[]", '{"roots": "/home"}', '{"roots": ["home"]}'])
def test_settings_that_are_wrong_are_said_and_give_no_use(tmp_path: Path, text: str) -> None:
    settings = tmp_path / "disk_quota.json"
    settings.write_text(text)
    with pytest.raises(DiskSettingsError, match="disk_quota"):
        roots(settings)
    assert usage(1001, settings, OwnOnly()) is None
