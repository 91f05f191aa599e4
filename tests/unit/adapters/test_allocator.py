# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Granting and taking back, on real files: what is promised, what is undone, what a crash leaves."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from dataclasses import replace
from fractions import Fraction

import pytest

from ds01.allocator import AllocationError, AllocationPaths, Allocator
from ds01.core.claim_reconcile import ContainerState
from ds01.core.gpu_request import GpuRequest
from ds01.core.refusal import Refusal
from tests.allocation_examples import ALL_BALANCED, SEVEN, inventory, limits, mig_gpu, publish, uuid, whole_gpu
from tests.slices_on_disk import SlicesOnDisk

STOCK = inventory(whole_gpu(0), mig_gpu(1, ALL_BALANCED))
ALL = GpuRequest(everything=True)
A, B, C = ("c" + d * 12 for d in "abc")


def container(claim_id: str) -> str:
    return claim_id[1] * 64


class Bench:
    """One host: its files, its slices, its time."""

    def __init__(self, root, stock=STOCK):
        publish(root, stock)
        self.root = root
        self.now = 1000.0
        self.slices = SlicesOnDisk(root / "slices")
        self.paths = AllocationPaths(
            root / "cdi", root / "claims.lock", root / "devices.json", root / "cdi-base.json", root / "reservations.json"
        )
        self.allocator = self.new_allocator()

    def new_allocator(self) -> Allocator:
        return Allocator(self.paths, self.slices, lambda: self.now)

    def grant(self, claim_id=A, who=None, uid=1000, request=ALL, **changes):
        values = {"container_id": container(claim_id), "container_name": f"box-{claim_id[1]}", **changes}
        return self.allocator.grant(claim_id, who or limits(), uid, request, **values)

    def files(self):
        return sorted(os.listdir(self.root / "cdi")) if (self.root / "cdi").exists() else []

    def reconcile(self, *alive: str, stopped=(), later=1000.0):
        self.now += later
        states = [ContainerState(container(c), True, c) for c in alive] + [
            ContainerState(container(c), False, c, self.now - 1) for c in stopped
        ]
        plan = self.allocator.reconcile(states, self.now)
        assert all(self.allocator.finish(one) for one in plan.drop)
        return plan


@pytest.fixture
def host(tmp_path):
    return Bench(tmp_path)


class TestGrant:
    def test_the_file_is_the_grant_and_the_slice_has_its_nodes(self, host):
        made = host.grant(who=limits(runtime=3600, gpu_hold=60))
        assert host.files() == [f"ds01-{A}.json"] and host.allocator.claims() == (made,)
        assert (made.ends_at, made.hold, made.granted_at, made.user) == (4600.0, 60, 1000.0, "student")
        spec = json.loads((host.root / "cdi" / f"ds01-{A}.json").read_text())
        nodes = {f"{n['major']}:{n['minor']}" for n in spec["devices"][0]["containerEdits"]["deviceNodes"]}
        assert host.slices.open_nodes(1000, A) == nodes and "195:255" in nodes and "195:1" in nodes and "195:0" not in nodes
        assert (host.root / "slices" / "u1000").exists()

    def test_two_claims_two_devices_and_usage(self, host):
        one, two = host.grant(A), host.grant(B)
        assert one.devices[0].key != two.devices[0].key and one.generation != two.generation
        assert host.allocator.usage(1000).equivalents == Fraction(2, 7) and host.allocator.usage(1001).claims == ()

    def test_again_is_the_same(self, host):
        one = host.grant()
        host.now += 5
        assert host.grant(container_name="renamed") == replace(one, renewed_at=1005.0, container_name="renamed")

    def test_a_new_process_sees_the_claims(self, host):
        one = host.grant()
        host.allocator = host.new_allocator()
        assert host.grant(B).devices[0].key != one.devices[0].key

    def test_a_claim_of_another_container_is_not_handed_over(self, host):
        host.grant()
        for change in ({"container_id": "f" * 64}, {"uid": 1001}):
            with pytest.raises(AllocationError, match="is of container"):
                host.grant(**change)
        assert len(host.allocator.claims()) == 1

    def test_a_device_made_anew_is_chosen_anew(self, host):
        first = host.grant()
        other = inventory(whole_gpu(0), mig_gpu(1, [("3g.20gb", 0), ("3g.20gb", 4)]))
        publish(host.root, other)
        second = host.grant()
        assert second.devices[0].profile == "3g.20gb" and second.generation != first.generation
        assert len(host.files()) == 1

    def test_held_claims_are_judged_again(self, host):
        host.grant(who=limits(gpu_hold=100))
        host.allocator.release(A)
        with pytest.raises(Refusal) as caught:
            host.grant(who=limits(profiles=("7g",)))
        assert caught.value.rule == "gpu.not_permitted" and host.allocator.claims() == ()

    def test_reservations_are_read(self, host):
        reservation = {"id": "exam", "devices": [uuid("GPU", 1)], "users": ["prof"], "start": 0, "end": 9999}
        host.paths.reservations.write_text(json.dumps({"reservations": [reservation]}))
        with pytest.raises(Refusal, match="reserved for others"):
            host.grant()
        assert host.grant(who=limits("prof"))
        host.paths.reservations.write_text('{"reservations": [{}]}')
        with pytest.raises(AllocationError, match="reservation id"):
            host.grant(B, who=limits("prof"))

    def test_what_corrupt_files_name_is_not_given(self, host):
        host.grant()
        path = host.root / "cdi" / f"ds01-{A}.json"
        mine = json.loads(path.read_text())["devices"]
        path.write_text(path.read_text()[:600])
        assert host.allocator.table().corrupt[0].devices
        assert host.grant(B).devices[0].mig_uuid not in host.allocator.table().blocked and mine


class TestFailure:
    @pytest.mark.parametrize("what", ["ensure_user_slice", "open_claim_slice"])
    def test_a_slice_that_fails_grants_nothing(self, host, what):
        host.slices.broken = {what}
        with pytest.raises(AllocationError, match="broken"):
            host.grant()
        assert host.files() == [] and host.slices.claim_slices() == []

    def test_a_spec_that_cannot_be_written_closes_the_slice(self, host, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "rename", full)
        with pytest.raises(AllocationError, match="No space left"):
            host.grant()
        assert host.files() == [] and host.slices.claim_slices() == []

    def test_a_renewal_that_fails_leaves_the_claim(self, host):
        one = host.grant()
        host.slices.broken = {"open_claim_slice"}
        with pytest.raises(AllocationError, match="stays as it was"):
            host.grant()
        assert host.allocator.claims() == (one,)

    def test_a_refusal_leaves_nothing(self, host):
        with pytest.raises(Refusal):
            host.grant(request=GpuRequest(full=True))
        assert host.files() == [] and host.slices.claim_slices() == []

    @pytest.mark.parametrize("name", ["devices.json", "cdi-base.json"])
    @pytest.mark.parametrize("text", [None, "{", "[]", '{"devices": []}'])
    def test_without_a_snapshot_or_base_nothing_is_granted(self, host, name, text):
        (host.root / name).unlink() if text is None else (host.root / name).write_text(text)
        with pytest.raises(AllocationError):
            host.grant()
        assert host.files() == [] and host.slices.claim_slices() == []

    def test_a_slice_that_cannot_be_closed_is_mended_later(self, host):
        host.grant()
        host.slices.broken = {"close_claim_slice"}
        host.allocator.release(A)
        assert host.files() == [] and host.slices.claim_slices() == [(1000, A)]
        host.slices.broken = set()
        assert host.reconcile().close == ((1000, A),) and host.slices.claim_slices() == []


class TestEnd:
    def test_release_without_hold(self, host):
        one = host.grant()
        assert host.allocator.release(A) == one and host.allocator.release(A) is None
        assert host.files() == [] and host.slices.claim_slices() == []

    def test_hold_keeps_the_device_until_it_ends(self, host):
        host.grant(who=limits(gpu_hold=60))
        host.allocator.release(A)
        assert host.allocator.claims()[0].held_until == 1060.0 and host.files() == [f"ds01-{A}.json"]
        assert host.allocator.expire(1059.0) == [] and [c.id for c in host.allocator.expire(1060.0)] == [A]
        assert host.files() == [] and host.slices.claim_slices() == []

    def test_a_start_within_the_hold_gets_the_same_device(self, host):
        one = host.grant(who=limits(gpu_hold=60))
        host.allocator.release(A)
        again = host.grant(who=limits(gpu_hold=60))
        assert again.held_until is None and again.devices == one.devices and again.generation == one.generation

    def test_a_hold_that_is_over_stands_in_nobodys_way(self, tmp_path):
        host = Bench(tmp_path, inventory(mig_gpu(0, [("7g.40gb", 0)])))
        host.grant(A, who=limits(gpu_hold=60))
        host.allocator.release(A)
        with pytest.raises(Refusal, match="00:17 UTC"):
            host.grant(B, uid=1001)
        host.now = 1061.0
        assert host.grant(B, uid=1001) and host.files() == [f"ds01-{B}.json"]

    def test_explicit_hold_and_drop(self, host):
        host.grant()
        host.allocator.release(A, 10)
        assert host.allocator.claims()[0].held_until == 1010.0
        assert host.allocator.drop(A) is not None and host.allocator.claims() == ()


class TestReconcile:
    def test_after_a_reboot_nothing_is_left(self, host):
        host.grant(A), host.grant(B)
        assert host.reconcile().drop == (A, B)
        assert host.files() == [] and host.slices.claim_slices() == []

    def test_live_stay_stopped_are_held_resumed_are_free_of_their_hold(self, host):
        for claim_id in (A, B, C):
            host.grant(claim_id, who=limits(gpu_hold=500))
        host.allocator.release(C, 5000)
        host.reconcile(A, C, stopped=[B])
        by_id = {c.id: c.held_until for c in host.allocator.claims()}
        assert by_id == {A: None, B: host.now - 1 + 500, C: None}

    def test_a_start_under_way_is_left_alone(self, host):
        host.grant()
        assert host.reconcile(later=1.0).drop == () and host.files() == [f"ds01-{A}.json"]


def _killed_after(root, steps, work):
    """Run ``work(host)`` in a process that dies, without any clean-up, before effect number ``steps``."""
    host = Bench.__new__(Bench)
    host.__dict__.update(root.__dict__)
    left = [steps]

    def dying(function):
        def call(*args, **kwargs):
            if left[0] == 0:
                os._exit(9)
            left[0] -= 1
            return function(*args, **kwargs)

        return call

    for name in ("open", "rename", "unlink", "fsync", "fchmod", "fdopen"):
        setattr(os, name, dying(getattr(os, name)))
    for name in ("ensure_user_slice", "open_claim_slice", "close_claim_slice"):
        setattr(host.slices, name, dying(getattr(host.slices, name)))
    work(host)
    os._exit(0)


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(lambda host: host.grant(A), id="grant"),
        pytest.param(lambda host: host.allocator.release(B), id="release"),
        pytest.param(lambda host: host.allocator.release(B, 50), id="hold"),
        pytest.param(lambda host: host.grant(B), id="renew"),
        pytest.param(lambda host: host.reconcile(), id="reconcile"),
    ],
)
def test_killed_anywhere(tmp_path, work):
    """kill -9 before each effect in turn: no device twice, every open slice is of a readable claim or mended, then all comes back."""
    died = 0
    for steps in range(60):
        root = tmp_path / str(steps)
        root.mkdir()
        host = Bench(root, inventory(mig_gpu(0, SEVEN[:2])))
        kept = host.grant(B)
        child = multiprocessing.get_context("fork").Process(target=_killed_after, args=(host, steps, work))
        child.start()
        child.join(30)
        assert child.exitcode in (0, 9)
        survivor = host.new_allocator()
        host.allocator = survivor
        table = survivor.table()
        assert table.corrupt == ()
        keys = [d.key for c in table.claims for d in c.devices]
        assert len(keys) == len(set(keys))
        startable = {c.id for c in table.claims if c.ending_since is None}
        assert startable <= {claim_id for _uid, claim_id in host.slices.claim_slices()}, "a spec without its slice"
        host.reconcile(*(c.id for c in table.claims))
        assert {c.id for c in survivor.claims()} == {claim_id for _uid, claim_id in host.slices.claim_slices()}
        assert host.files() == [f"ds01-{c.id}.json" for c in survivor.claims()]
        host.reconcile()
        assert host.files() == [] and host.slices.claim_slices() == []
        assert host.grant(A) and host.grant(B).devices and kept
        if child.exitcode == 0:
            break
        died += 1
    assert died >= 3 and child.exitcode == 0


@pytest.mark.parametrize("round_", range(5))
def test_twenty_at_once_for_eight_devices(tmp_path, round_):
    """Threads of several allocators: exactly as many grants as there are devices, all different."""
    host = Bench(tmp_path, inventory(whole_gpu(0), *(mig_gpu(i, ALL_BALANCED) for i in (1, 2))))
    who = limits(full_gpu=True)
    granted, refused = [], []
    barrier = threading.Barrier(20)

    def ask(n):
        allocator = host.new_allocator()
        barrier.wait(30)
        try:
            granted.append(allocator.grant(f"c{n:012x}", who, 2000 + n, ALL, f"{n:064x}", f"box{n}"))
        except Refusal as said:
            refused.append(said.rule)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(granted) == 9 and refused == ["gpu.busy"] * 11
    assert len({c.devices[0].key for c in granted}) == 9
    assert {c.id for c in host.allocator.claims()} == {c.id for c in granted}
