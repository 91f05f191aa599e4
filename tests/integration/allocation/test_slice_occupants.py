# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The kernel's own word on who lives in a claim's slice, and its way of ending them, on real cgroups of version 2."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds01.cgroup_fs import CgroupFs
from ds01.claim_occupants import Occupants, ProcOccupants, SliceOccupants
from ds01.core.claim import Claim
from ds01.core.slice_names import claim_slice
from tests.allocation_examples import claim
from tests.integration.daemons import die_with_parent, wait_until

MINE, OTHER, IDLE = claim(1, ()), claim(2, ()), claim(3, ())
# A process that goes on making others, and one of them that the first one's end does not end.
_BUSY = "setsid sleep 600 & while :; do sleep 0.01; done"


def _cgroup2() -> Path:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise RuntimeError("this kernel has no cgroups of version 2 mounted")


@pytest.fixture
def tree() -> Iterator[Path]:
    """A part of the tree as if it were all; what is in it ends with the test."""
    root = _cgroup2() / f"ds01-test-{os.getpid()}"
    root.mkdir()
    yield root
    (root / "cgroup.kill").write_text("1")
    for directory, _, _ in os.walk(root, topdown=False):
        wait_until(lambda directory=directory: _removed(directory), 10, f"the end of {directory}")  # type: ignore[misc]


def _removed(directory: str) -> bool:
    with contextlib.suppress(OSError):
        os.rmdir(directory)
    return not os.path.exists(directory)


def _occupy(tree: Path, one: Claim) -> subprocess.Popen[bytes]:
    """A container's processes, where dockerd puts them."""
    scope = CgroupFs(tree).path(claim_slice(one.uid, one.id)) / f"docker-{one.container_id}.scope"
    scope.mkdir(parents=True)

    def enter() -> None:
        die_with_parent()
        (scope / "cgroup.procs").write_text(str(os.getpid()))

    return subprocess.Popen(["sh", "-c", _BUSY], preexec_fn=enter)


@pytest.mark.parametrize("by", ["slice", "proc"])
def test_all_of_one_container_end_and_none_of_another(tree: Path, by: str) -> None:
    occupants: Occupants = SliceOccupants(CgroupFs(tree)) if by == "slice" else ProcOccupants()
    mine, other = _occupy(tree, MINE), _occupy(tree, OTHER)
    CgroupFs(tree).path(claim_slice(IDLE.uid, IDLE.id)).mkdir()
    assert occupants.living([MINE, OTHER, IDLE]) == {MINE.id, OTHER.id}

    def ended() -> bool:
        occupants.end(MINE)
        return MINE.id not in occupants.living([MINE])

    wait_until(ended, 20, "the end of every process of the container")
    assert mine.wait(10) == -9
    assert occupants.living([MINE, OTHER, IDLE]) == {OTHER.id}
    assert other.poll() is None
    other.kill()
    other.wait(10)
    assert occupants.living([OTHER]) == {OTHER.id}, "one that its first process left behind counts"
