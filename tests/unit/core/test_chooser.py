# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Choosing devices: by example for each rule, by property for what must never happen, against brute force for what must."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.chooser import LEAD_S, choose, impossible, intact, may_keep
from ds01.core.claim import Claim
from ds01.core.devices import Inventory
from ds01.core.gpu_request import GpuRequest
from ds01.core.offers import fitting, is_profile, offers
from ds01.core.refusal import Refusal
from ds01.core.reservation import Reservation
from tests.allocation_examples import ALL_BALANCED, SEVEN, claim, inventory, limits, mig_gpu, uuid, whole_gpu
from tests.search_effort import tries

MIXED = inventory(whole_gpu(0), whole_gpu(1), mig_gpu(2, ALL_BALANCED), mig_gpu(3, SEVEN))
ALL = GpuRequest(everything=True)


def device(stock: Inventory, gpu: int, start: int | None = None):
    """The claimed device at that place."""
    return next(o.device for o in offers(stock) if o.gpu.index == gpu and (o.instance.start if o.instance is not None else None) == start)


def get(stock=MIXED, claims=(), who=None, request=ALL, uid=1000, **more):
    return choose(stock, claims, who or limits(), request, uid=uid, now=2000.0, **more)


def refusal(**kwargs) -> Refusal:
    with pytest.raises(Refusal) as caught:
        get(**kwargs)
    assert caught.value.what and caught.value.why and caught.value.next_step
    return caught.value


class TestWhatIsGiven:
    def test_gpus_all_is_one_smallest_device(self):
        (given_device,) = get()
        assert given_device.profile == "1g.5gb"

    def test_instances_come_from_the_gpu_most_in_use(self):
        held = claim(1, (device(MIXED, 3, 0),), uid=5)
        assert get(claims=[held])[0].gpu_uuid == uuid("GPU", 3)
        held = claim(1, (device(MIXED, 2, 4),), uid=5)
        assert get(claims=[held])[0].gpu_uuid == uuid("GPU", 2)

    def test_within_a_gpu_the_half_in_use_is_filled_first(self):
        stock = inventory(mig_gpu(0, SEVEN))
        assert get(stock, [claim(1, (device(stock, 0, 5),), uid=5)])[0].key.endswith("@4")

    def test_next_larger_when_the_small_ones_are_gone(self):
        stock = inventory(whole_gpu(0), mig_gpu(1, ALL_BALANCED))
        held = [claim(1, (device(stock, 1, 2), device(stock, 1, 3)), uid=5)]
        assert get(stock, held)[0].profile == "2g.10gb"

    def test_a_normal_request_gets_a_full_gpu_only_where_policy_says(self):
        stock = inventory(whole_gpu(0), mig_gpu(1, [("7g.40gb", 0)]))
        held = [claim(1, (device(stock, 1, 0),), uid=5)]
        assert get(stock, held, limits(full_gpu=True))[0].profile is None
        assert refusal(stock=stock, claims=held).rule == "gpu.busy"

    def test_full_means_mig_off(self):
        stock = inventory(mig_gpu(0, [("7g.40gb", 0)]), mig_gpu(1, []), whole_gpu(2))
        assert get(stock, who=limits(full_gpu=True), request=GpuRequest(full=True))[0].gpu_uuid == uuid("GPU", 2)

    @pytest.mark.parametrize(("memory", "kind"), [(1, "1g.5gb"), (4865, "2g.10gb"), (9857, "3g.20gb"), (19969, None)])
    def test_least_memory_that_satisfies(self, memory, kind):
        assert get(who=limits(full_gpu=True), request=GpuRequest(memory_mib=memory))[0].profile == kind

    def test_by_profile_and_several(self):
        got = get(who=limits(devices_per_container=3), request=GpuRequest(count=3, profile="1g"))
        assert [d.profile for d in got] == ["1g.5gb"] * 3 and len({d.key for d in got}) == 3
        assert get(request=GpuRequest(profile="3G.20GB"))[0].profile == "3g.20gb"

    @pytest.mark.parametrize("name", ["0", uuid("GPU", 0)])
    def test_a_full_gpu_by_name(self, name):
        got = get(who=limits(full_gpu=True, by_uuid=True), request=GpuRequest(uuids=(name,)))
        assert got[0].gpu_uuid == uuid("GPU", 0)

    def test_an_instance_by_mig_uuid(self):
        wanted = MIXED.gpus[2].instances[0]
        assert get(who=limits(by_uuid=True), request=GpuRequest(uuids=(wanted.mig_uuid,)))[0].key == wanted.key

    def test_numeric_order_not_text(self):
        stock = inventory(*(whole_gpu(i) for i in (10, 9, 2)))
        assert get(stock, who=limits(full_gpu=True))[0].gpu_minor == 2


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("who", "request_", "rule"),
        [
            ({"devices_per_container": 0}, ALL, "gpu.none"),
            ({"equivalents": Fraction(0)}, ALL, "gpu.none"),
            ({"pools": ()}, ALL, "gpu.none"),
            ({}, GpuRequest(count=2), "gpu.devices_per_container"),
            ({}, GpuRequest(full=True), "gpu.full_gpu"),
            ({}, GpuRequest(uuids=("0",)), "gpu.by_uuid"),
            ({"by_uuid": True}, GpuRequest(uuids=("77",)), "gpu.unknown_device"),
            ({"by_uuid": True}, GpuRequest(uuids=("2",)), "gpu.unknown_device"),
            ({"by_uuid": True}, GpuRequest(uuids=("0",)), "gpu.not_permitted"),
            ({"full_gpu": True}, GpuRequest(full=True, profile="1g.5gb"), "gpu.contradiction"),
            ({}, GpuRequest(profile="9g.1tb"), "gpu.not_on_this_host"),
            ({}, GpuRequest(memory_mib=10**9), "gpu.not_on_this_host"),
            ({"profiles": ("1g",)}, GpuRequest(profile="2g.10gb"), "gpu.not_permitted"),
            ({"pools": ("batch",)}, ALL, "gpu.not_permitted"),
            ({"equivalents": Fraction(1, 7)}, GpuRequest(profile="3g"), "gpu.quota_total"),
            ({"devices_per_container": 9, "full_gpu": True}, GpuRequest(count=2, full=True), "gpu.quota_total"),
        ],
    )
    def test_impossible_is_said_before_anything_is_made(self, who, request_, rule):
        said = impossible(MIXED, limits(**who), request_)
        assert said is not None and said.rule == rule and said.status in (400, 403)
        assert refusal(who=limits(**who), request=request_).rule == rule

    def test_what_is_out_of_service_is_not_impossible_but_busy(self):
        stock = inventory(whole_gpu(0, healthy=False))
        who = limits(full_gpu=True)
        assert impossible(stock, who, ALL) is None
        said = refusal(stock=stock, who=who)
        assert said.rule == "gpu.busy" and said.status == 409 and "1 out of service" in said.why

    def test_quota_names_what_is_held(self):
        stock = inventory(mig_gpu(0, [("3g.20gb", 0), ("3g.20gb", 4)]))
        mine = claim(1, (device(stock, 0, 0),), container_name="train")
        said = refusal(stock=stock, claims=[mine], who=limits(equivalents=Fraction(3, 7)))
        assert said.rule == "gpu.quota" and said.status == 409
        assert said.why == "you hold 0.43 of 0.43 GPU-equivalents: train (3g.20gb); this request needs at least 0.43 more"
        assert said.next_step == "Stop one of them: docker stop train"

    def test_quota_offers_the_stopped_container_first(self):
        mine = [
            claim(1, (device(MIXED, 3, 0),), container_name="runs"),
            claim(2, (device(MIXED, 3, 1),), container_name="rests", held_until=3600.0),
        ]
        said = refusal(claims=mine, who=limits(equivalents=Fraction(2, 7)))
        assert "rests is stopped and keeps its GPU until 1970-01-01 01:00 UTC" in said.next_step and "docker rm rests" in said.next_step

    def test_busy_says_when(self):
        stock = inventory(mig_gpu(0, [("3g.20gb", 0), ("3g.20gb", 4)]))
        others = [claim(1, (device(stock, 0, 0),), uid=5, ends_at=7200.0), claim(2, (device(stock, 0, 4),), uid=6, held_until=3600.0)]
        said = refusal(stock=stock, claims=others)
        assert said.rule == "gpu.busy" and "2 devices here fit, 0 of them free, 1 needed" in said.why
        assert "1970-01-01 01:00 UTC" in said.next_step
        assert "not known" in refusal(stock=stock, claims=[replace(c, ends_at=None, held_until=None) for c in others]).next_step

    def test_busy_tells_free_but_too_large(self):
        held = [claim(1, (device(MIXED, 3, 0),))] + [
            claim(2 + i, (o.device,), uid=5)
            for i, o in enumerate(offers(MIXED))
            if o.device.profile == "1g.5gb" and o.device.key[-3:] != "@0"
        ]
        said = refusal(claims=held, who=limits(equivalents=Fraction(2, 7)))
        assert said.rule == "gpu.busy" and "larger than the 0.14 GPU-equivalents left" in said.why

    def test_a_claim_wins_over_a_layout_that_disagrees(self):
        before = inventory(whole_gpu(0))
        after = inventory(mig_gpu(0, SEVEN))
        assert refusal(stock=after, claims=[claim(1, (device(before, 0),), uid=5)]).rule == "gpu.busy"
        assert refusal(stock=before, claims=[claim(1, (device(after, 0, 0),), uid=5)], who=limits(full_gpu=True)).rule == "gpu.busy"

    def test_blocked_devices_are_not_given(self):
        stock = inventory(mig_gpu(0, [("3g.20gb", 0), ("3g.20gb", 4)]))
        first, second = (i.mig_uuid for i in stock.gpus[0].instances)
        assert get(stock, blocked=frozenset({first}))[0].mig_uuid == second
        assert refusal(stock=stock, blocked=frozenset({stock.gpus[0].uuid})).rule == "gpu.busy"


class TestReservations:
    def reserve(self, **who):
        values = {"users": frozenset(), "groups": frozenset(), **who}
        return Reservation("exam", frozenset({uuid("GPU", 3)}), start=1500.0, end=2500.0, **values)

    def test_others_get_what_is_not_reserved(self):
        kept = self.reserve(users=frozenset({"prof"}))
        assert get(reservations=[kept])[0].gpu_uuid == uuid("GPU", 2)
        said = refusal(stock=inventory(MIXED.gpus[3]), reservations=[kept])
        assert said.rule == "gpu.busy" and "7 reserved for others" in said.why

    def test_the_holder_is_given_it_first(self):
        stock = inventory(mig_gpu(2, SEVEN), mig_gpu(3, SEVEN))
        assert get(stock, reservations=[self.reserve(groups=frozenset({"students"}))])[0].gpu_uuid == uuid("GPU", 3)

    def test_after_it_it_is_nothing(self):
        kept = self.reserve(users=frozenset({"prof"}))
        assert choose(inventory(MIXED.gpus[3]), [], limits(), ALL, uid=1, now=2500.0, reservations=[kept])

    @pytest.mark.parametrize(
        ("runtime", "before_s", "given"),
        [
            (3600, 3599.0, False),
            (3600, 3600.0, True),
            (3600, 1.0, False),
            (None, LEAD_S - 1, False),
            (None, LEAD_S, True),
            (7 * 86400, LEAD_S - 1, False),
            (7 * 86400, LEAD_S, True),
            (0, 1.0, True),
        ],
    )
    def test_it_is_honoured_ahead_of_what_could_run_into_it(self, runtime, before_s, given):
        kept = replace(self.reserve(users=frozenset({"prof"})), start=10**7, end=10**7 + 3600.0)
        stock, now = inventory(MIXED.gpus[3]), 10**7 - before_s
        for who in (limits(runtime=runtime), limits("prof", runtime=runtime)):
            if given or who.user == "prof":
                assert choose(stock, [], who, ALL, uid=1, now=now, reservations=[kept])
                continue
            with pytest.raises(Refusal) as caught:
                choose(stock, [], who, ALL, uid=1, now=now, reservations=[kept])
            assert caught.value.rule == "gpu.busy"
            assert "7 reserved for others, from 1970-04-26" in caught.value.why

    def test_a_device_without_a_later_reservation_comes_first(self):
        kept = replace(self.reserve(users=frozenset({"prof"})), devices=frozenset({uuid("GPU", 2)}), start=10**7, end=10**7 + 1.0)
        stock = inventory(mig_gpu(2, SEVEN), mig_gpu(3, SEVEN))
        week = limits(runtime=7 * 86400)
        chosen = [
            choose(stock, [], who, ALL, uid=1, now=10**7 - 2 * LEAD_S, reservations=[kept])[0].gpu_uuid
            for who in (week, limits("prof", runtime=7 * 86400), limits(runtime=3600))
        ]
        assert chosen == [uuid("GPU", 3), uuid("GPU", 2), uuid("GPU", 2)]

    def test_who_has_it_now_may_use_it_to_its_end_whoever_is_next(self):
        mine = self.reserve(users=frozenset({"student"}))
        nexts = replace(mine, id="next", users=frozenset({"prof"}), start=2500.0, end=9000.0)
        assert choose(inventory(MIXED.gpus[3]), [], limits(runtime=86400), ALL, uid=1, now=2000.0, reservations=[mine, nexts])

    def test_a_reserved_device_too_large_for_the_quota_does_not_stand_in_the_way(self):
        kept = Reservation("r", frozenset({device(MIXED, 2, 4).key}), frozenset({"student"}), frozenset(), 0.0, 9999.0)
        assert get(reservations=[kept], who=limits(equivalents=Fraction(1, 7)))[0].profile == "1g.5gb"


class TestPools:
    """A device is for whom its pool is: interactive work, batch, or a group whose policy names the pool ``reserved``."""

    STOCK = inventory(
        replace(mig_gpu(0, SEVEN), pool="interactive"),
        replace(mig_gpu(1, SEVEN), pool="batch"),
        replace(mig_gpu(2, SEVEN), pool="reserved"),
    )

    @pytest.mark.parametrize(
        ("pools", "gpus"),
        [(("interactive",), {0}), (("batch",), {1}), (("reserved",), {2}), (("interactive", "batch"), {0, 1}), ((), set())],
    )
    def test_nobody_gets_a_device_of_a_pool_that_is_not_theirs(self, pools, gpus):
        who, held, got = limits(pools=pools, equivalents=None), [], set()
        while True:
            try:
                devices = choose(self.STOCK, held, who, ALL, uid=1, now=0.0)
            except Refusal as said:
                assert said.rule == ("gpu.busy" if pools else "gpu.none")
                break
            held.append(claim(len(held) + 1, devices))
            got.add(devices[0].gpu_uuid)
        assert got == {uuid("GPU", index) for index in gpus}
        assert len(held) == 7 * len(gpus)

    def test_the_refusal_says_which_pools_are_theirs(self):
        said = refusal(stock=inventory(self.STOCK.gpus[1]))
        assert (said.rule, said.status) == ("gpu.not_permitted", 403)
        assert "pools interactive" in said.why


class TestKeeping:
    def held(self, **changes) -> Claim:
        return claim(1, (device(MIXED, 2, 4),), held_until=9999.0, **changes)

    def test_an_unchanged_claim_is_kept(self):
        assert may_keep(MIXED, self.held(), [], limits(), ALL, now=2000.0)

    def test_a_device_made_again_elsewhere_or_otherwise_is_another(self):
        gone = inventory(mig_gpu(2, [("4g.20gb", 0)]))
        assert not intact(gone, self.held())
        assert not may_keep(gone, self.held(), [], limits(), ALL, now=2000.0)

    @pytest.mark.parametrize(
        "who", [limits(profiles=("1g",)), limits(equivalents=Fraction(1, 7)), limits(pools=("batch",)), limits(devices_per_container=0)]
    )
    def test_policy_that_became_stricter_holds_for_the_next_start(self, who):
        assert not may_keep(MIXED, self.held(), [], who, ALL, now=2000.0)

    def test_quota_used_up_meanwhile(self):
        other = claim(2, (device(MIXED, 3, 0),))
        assert may_keep(MIXED, self.held(), [other], limits(equivalents=Fraction(4, 7)), ALL, now=2000.0)
        assert not may_keep(MIXED, self.held(), [other], limits(equivalents=Fraction(3, 7)), ALL, now=2000.0)

    def test_reserved_or_sick_meanwhile(self):
        kept = Reservation("r", frozenset({uuid("GPU", 2)}), frozenset({"prof"}), frozenset(), 0.0, 9999.0)
        assert not may_keep(MIXED, self.held(), [], limits(), ALL, now=2000.0, reservations=[kept])
        sick = inventory(*(replace(g, healthy=False) for g in MIXED.gpus))
        assert not may_keep(sick, self.held(), [], limits(), ALL, now=2000.0)


@pytest.mark.parametrize(
    ("asked", "profile", "same"),
    [("1g", "1g.5gb", True), ("1G.5GB", "1g.5gb", True), ("1g.5gb", "1g.5gb+me", False), ("1", "1g.5gb", False), ("1g", "1g.5gb+me", True)],
)
def test_profile_names(asked, profile, same):
    assert is_profile(asked, profile) is same


LAYOUTS = st.sampled_from([[], SEVEN, ALL_BALANCED, [("3g.20gb", 4), ("4g.20gb", 0)], [("7g.40gb", 0)], [("1g.10gb", 0), ("2g.10gb", 2)]])


@st.composite
def stocks(draw):
    gpus = []
    for index in range(draw(st.integers(1, 3))):
        changes = {"healthy": draw(st.booleans()) or draw(st.booleans()), "pool": draw(st.sampled_from(["interactive", "batch"]))}
        layout = draw(st.one_of(st.none(), LAYOUTS))
        gpus.append(whole_gpu(index, **changes) if layout is None else mig_gpu(index, layout, **changes))
    return inventory(*gpus)


people = st.builds(
    limits,
    equivalents=st.one_of(st.none(), st.fractions(0, 3, max_denominator=7)),
    devices_per_container=st.integers(0, 3),
    full_gpu=st.booleans(),
    by_uuid=st.booleans(),
    profiles=st.sampled_from([None, ("1g",), ("3g.20gb", "2g")]),
    pools=st.sampled_from([("interactive",), ("interactive", "batch")]),
)
requests = st.builds(
    GpuRequest,
    count=st.integers(1, 3),
    profile=st.sampled_from([None, None, "1g", "3g.20gb"]),
    memory_mib=st.sampled_from([None, None, 5000, 20000]),
    full=st.booleans(),
    everything=st.booleans(),
)


@tries(300)
@given(stocks(), st.lists(st.tuples(people, requests, st.integers(1, 3)), max_size=12))
def test_sequences_of_requests(stock, asked):
    """Whatever is asked: no device twice, no quota exceeded, nothing forbidden given, and no 'busy' while a choice exists."""
    claims: list[Claim] = []
    for number, (who, request, uid) in enumerate(asked):
        before = sum((c.equivalents for c in claims if c.uid == uid), Fraction(0))
        taken = {d.key for c in claims for d in c.devices}
        possible = [o.device for o in fitting(stock, who.gpu, request) if o.gpu.healthy and o.device.key not in taken]
        count = 1 if request.everything else request.count
        sums = [sum((d.equivalents for d in some), Fraction(0)) for some in itertools.combinations(possible, count)]
        exists = any(who.gpu.equivalents is None or before + s <= who.gpu.equivalents for s in sums)
        try:
            got = choose(stock, claims, who, request, uid=uid, now=0.0)
        except Refusal as said:
            assert said.rule not in ("gpu.busy", "gpu.quota") or not exists
            assert (impossible(stock, who, request) is not None) == (said.status != 409)
            continue
        assert len(got) == count == len({d.key for d in got})
        assert not {d.key for d in got} & taken
        total = sum((d.equivalents for d in got), Fraction(0))
        assert who.gpu.equivalents is None or before + total <= who.gpu.equivalents
        assert total == min(sums)
        assert all(d in possible for d in got)
        assert got == choose(stock, list(reversed(claims)), who, request, uid=uid, now=0.0)
        claims.append(claim(number, got, uid=uid))
    keys = [d.key for c in claims for d in c.devices]
    assert len(keys) == len(set(keys))
