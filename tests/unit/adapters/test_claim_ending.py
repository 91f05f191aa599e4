# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A claim ends in two steps, and its device is nobody else's before no process of its container lives."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from ds01.allocator import AllocationError, AllocationPaths, Allocator
from ds01.core.claim import Claim
from ds01.core.claim_reconcile import ContainerState
from ds01.core.gpu_request import GpuRequest
from ds01.core.limits import Limits
from ds01.core.refusal import Refusal
from tests.allocation_examples import inventory, limits, publish, uuid, whole_gpu
from tests.slices_on_disk import SlicesOnDisk

A, B = "caaaaaaaaaaaa", "cbbbbbbbbbbbb"
FULL = limits(full_gpu=True)


class Kernel:
    """``living``: ids of the claims of which a process lives; None: it does not say."""

    def __init__(self) -> None:
        self.living_now: set[str] | None = set()

    def living(self, claims: Iterable[Claim]) -> frozenset[str]:
        if self.living_now is None:
            raise OSError(24, "Too many open files")
        return frozenset(one.id for one in claims) & self.living_now

    def end(self, claim: Claim) -> None:
        raise AssertionError("the allocator ends no process")


class Host:
    """One GPU, which A's container has."""

    def __init__(self, root: Path) -> None:
        publish(root, inventory(whole_gpu(0)))
        self.now = 1000.0
        self.kernel = Kernel()
        self.slices = SlicesOnDisk(root / "slices")
        paths = AllocationPaths(
            root / "cdi", root / "claims.lock", root / "devices.json", root / "cdi-base.json", root / "reservations.json"
        )
        self.file = root / "cdi" / f"ds01-{A}.json"
        self.reservations = paths.reservations
        self.allocator = Allocator(paths, self.slices, lambda: self.now, occupants=self.kernel)
        self.grant()

    def grant(self, claim_id: str = A, uid: int = 1000, who: Limits = FULL) -> Claim:
        return self.allocator.grant(claim_id, who, uid, GpuRequest(), claim_id[1] * 64, "box")

    def device_name(self) -> str:
        return str(json.loads(self.file.read_text())["devices"][0]["name"])

    def is_taken(self) -> bool:
        try:
            self.grant(B, 1001)
        except Refusal as refusal:
            return refusal.rule == "gpu.busy"
        return False


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_withdrawn_nothing_can_start_with_it_and_its_device_is_taken(host: Host) -> None:
    assert host.allocator.withdraw(A) is not None
    assert host.device_name() == f"{A}-ending"
    assert host.slices.claim_slices() == []
    assert host.is_taken()


def test_it_is_free_when_no_process_lives(host: Host) -> None:
    host.allocator.withdraw(A)
    host.kernel.living_now = {A}
    assert not host.allocator.finish(A)
    assert host.is_taken()
    host.kernel.living_now = {B}
    assert host.allocator.finish(A)
    assert not host.file.exists()
    assert not host.is_taken()


@pytest.mark.parametrize("living", [{A}, None])
@pytest.mark.parametrize("how", ["release", "drop", "hold is over", "hold is over at a grant"])
def test_whatever_ends_a_claim_leaves_the_device_to_a_living_process(host: Host, how: str, living: set[str] | None) -> None:
    """Also when the kernel does not say whether one lives."""
    host.kernel.living_now = living
    if how in ("release", "drop"):
        host.allocator.release(A, 0) if how == "release" else host.allocator.drop(A)
    else:
        host.allocator.release(A, 60)
        host.now += 61
        if how == "hold is over":
            assert host.allocator.expire() == []
    assert host.is_taken()
    assert host.allocator.claims()[0].ending_since == host.now
    host.kernel.living_now = set()
    assert host.allocator.finish(A)
    assert not host.is_taken()


def test_since_when_it_is_ending_stands(host: Host) -> None:
    host.allocator.withdraw(A)
    host.now += 30
    host.allocator.withdraw(A)
    assert host.allocator.claims()[0].ending_since == 1000.0


def test_a_container_that_runs_after_all_has_what_it_had(host: Host) -> None:
    (before,) = host.allocator.claims()
    nodes = host.slices.open_nodes(1000, A)
    host.allocator.withdraw(A)
    assert host.allocator.restore(A)
    assert host.allocator.claims() == (before,)
    assert host.device_name() == A
    assert host.slices.open_nodes(1000, A) == nodes


def test_reconciling_restores_what_runs_and_only_withdraws_what_does_not(host: Host) -> None:
    host.allocator.reconcile([], host.now + 1000)
    assert host.device_name() == f"{A}-ending"
    plan = host.allocator.reconcile([ContainerState("a" * 64, True, A)], host.now + 1000)
    assert plan.resume == (A,)
    assert host.device_name() == A


def test_what_cannot_be_restored_stays_taken(host: Host) -> None:
    host.allocator.withdraw(A)
    host.slices.broken = {"open_claim_slice"}
    assert not host.allocator.restore(A)
    assert host.is_taken()


def test_the_container_itself_starts_with_its_own_device_again(host: Host) -> None:
    """dockerd clears away what it left running before it starts it again."""
    host.kernel.living_now = {A}
    host.allocator.drop(A)
    again = host.grant()
    assert (again.ending_since, host.device_name()) == (None, A)
    assert host.slices.claim_slices() == [(1000, A)]


def test_it_gets_no_other_device_while_it_has_the_old_one_open(host: Host) -> None:
    reserved = {"id": "exam", "devices": [uuid("GPU", 0)], "users": ["prof"], "start": 0, "end": 9999}
    host.reservations.write_text(json.dumps({"reservations": [reserved]}))
    host.kernel.living_now = {A}
    host.allocator.drop(A)
    with pytest.raises(AllocationError, match="has them open"):
        host.grant()
    assert host.allocator.claims()[0].id == A


@pytest.mark.parametrize("living", [set(), {A}])
def test_on_a_full_disk_the_processes_decide(host: Host, monkeypatch: pytest.MonkeyPatch, living: set[str]) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    host.kernel.living_now = living
    monkeypatch.setattr(os, "rename", full)
    host.allocator.drop(A)
    assert host.file.exists() == bool(living)
    assert host.slices.claim_slices() == []


def test_on_a_full_disk_too_the_slice_of_what_runs_after_all_is_open_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    nodes = host.slices.open_nodes(1000, A)
    with monkeypatch.context() as disk:
        disk.setattr(os, "rename", full)
        host.allocator.withdraw(A)
        assert host.slices.claim_slices() == []
        host.allocator.restore(A)
    assert host.slices.open_nodes(1000, A) == nodes
    assert host.device_name() == A


def test_a_damaged_spec_keeps_its_devices_too(host: Host) -> None:
    """Its claim is still to be read; what it opens is not."""
    host.file.write_text(host.file.read_text().splitlines()[0] + '\n"devices":[{]}\n')
    host.kernel.living_now = {A}
    host.allocator.drop(A)
    assert host.is_taken()
    assert host.device_name() == f"{A}-ending"
