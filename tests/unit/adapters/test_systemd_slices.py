# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Slices over a real D-Bus connection to a systemd that is none: what is asked, what is read back, what happens when it breaks."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from ds01.cgroup_fs import CgroupFs
from ds01.core.device_filter import EVERYTHING, WITHOUT_NVIDIA
from ds01.core.limits import AggregateLimits
from ds01.slice_control import SliceError
from ds01.systemd_bus import BusError, SystemdBus, unit_path
from ds01.systemd_slices import SystemdSlices
from tests.fake_systemd import FakeSystemd

LIMITS = AggregateLimits(8.0, 2**33, 2**34, 4096, 100, None, None, None)
CLAIM = "c0123456789ab"
CLAIM_SLICE = f"ds01-u1000-{CLAIM}.slice"
NODES = [(195, 255), (195, 1)]


@pytest.fixture
def systemd(tmp_path):
    fake = FakeSystemd(tmp_path)
    (tmp_path / "devices").write_text("Character devices:\n  1 mem\n195 nvidia\n\nBlock devices:\n  8 sd\n")
    yield fake
    fake.close()


@pytest.fixture
def slices(systemd, tmp_path):
    bus = SystemdBus(systemd.address, timeout=5.0)
    yield SystemdSlices(bus, CgroupFs(systemd.cgroups), io_paths=(), proc_devices=tmp_path / "devices")
    bus.close()


class TestUserSlice:
    def test_limits_reach_the_kernel_and_the_slice_is_open_for_filters_below(self, slices, systemd):
        assert slices.ensure_user_slice(1000, LIMITS) is True
        directory = systemd.path("ds01-u1000.slice")
        assert (directory / "cpu.max").read_text().split() == ["800000", "100000"]
        assert (directory / "memory.high").read_text().strip() == str(2**33)
        assert (directory / "memory.max").read_text().strip() == str(2**34)
        assert (directory / "pids.max").read_text().strip() == "4096"
        assert set(EVERYTHING) <= set(systemd.units["ds01-u1000.slice"]["DeviceAllow"])

    def test_the_second_time_nothing_is_asked_of_systemd(self, slices, systemd):
        slices.ensure_user_slice(1000, LIMITS)
        systemd.calls.clear()
        assert slices.ensure_user_slice(1000, LIMITS) is False
        assert systemd.calls == []

    def test_a_change_of_limits_is_live(self, slices, systemd):
        slices.ensure_user_slice(1000, LIMITS)
        assert slices.ensure_user_slice(1000, replace(LIMITS, cpus=None, memory_max=None)) is True
        assert (systemd.path("ds01-u1000.slice") / "memory.max").read_text().strip() == "max"
        assert systemd.units["ds01-u1000.slice"]["TasksMax"] == 4096

    def test_what_somebody_else_changed_is_put_right(self, slices, systemd):
        slices.ensure_user_slice(1000, LIMITS)
        (systemd.path("ds01-u1000.slice") / "memory.max").write_text("max\n")
        assert slices.ensure_user_slice(1000, LIMITS) is True
        assert (systemd.path("ds01-u1000.slice") / "memory.max").read_text().strip() == str(2**34)

    def test_a_class_of_devices_that_appeared_makes_the_filter_again(self, slices, systemd, tmp_path):
        slices.ensure_user_slice(1000, LIMITS)
        (tmp_path / "devices").write_text("Character devices:\n195 nvidia\n511 nvidia-uvm\n")
        systemd.calls.clear()
        assert slices.ensure_user_slice(1000, LIMITS) is True
        assert ("SetUnitProperties", "ds01-u1000.slice") in systemd.calls

    def test_a_slice_that_vanished_is_made_again(self, slices, systemd):
        slices.ensure_user_slice(1000, LIMITS)
        SystemdBus(systemd.address).stop("ds01-u1000.slice")
        assert slices.ensure_user_slice(1000, LIMITS) is True

    def test_one_with_a_unit_file_is_started_before_it_is_changed(self, slices, systemd):
        systemd.fragments.add("ds01-u1000.slice")
        assert slices.ensure_user_slice(1000, LIMITS) is True
        order = [member for member, unit in systemd.calls if unit == "ds01-u1000.slice"]
        assert order[:3] == ["StartTransientUnit", "StartUnit", "SetUnitProperties"]
        assert (systemd.path("ds01-u1000.slice") / "pids.max").read_text().strip() == "4096"


class TestClaimSlice:
    def test_exactly_the_nodes(self, slices, systemd):
        slices.open_claim_slice(1000, CLAIM, NODES)
        unit = systemd.units[CLAIM_SLICE]
        assert set(unit["DeviceAllow"]) == {*WITHOUT_NVIDIA, ("/dev/char/195:255", "rwm"), ("/dev/char/195:1", "rwm")}
        assert unit["DevicePolicy"] == "closed" and slices.claim_slices() == [(1000, CLAIM)]

    def test_other_nodes_replace_the_first(self, slices, systemd):
        slices.open_claim_slice(1000, CLAIM, NODES)
        slices.open_claim_slice(1000, CLAIM, [(195, 0)])
        assert set(systemd.units[CLAIM_SLICE]["DeviceAllow"]) == {*WITHOUT_NVIDIA, ("/dev/char/195:0", "rwm")}

    def test_leftovers_under_the_same_name_are_overwritten(self, slices, systemd):
        systemd.leftovers[CLAIM_SLICE] = [("/dev/char/195:7", "rwm")]
        slices.open_claim_slice(1000, CLAIM, NODES)
        assert ("/dev/char/195:7", "rwm") not in systemd.units[CLAIM_SLICE]["DeviceAllow"]

    def test_a_filter_that_stays_too_open_is_an_error(self, slices, systemd):
        systemd.leftovers[CLAIM_SLICE] = [("/dev/char/195:7", "rwm")]
        systemd.stubborn = True
        with pytest.raises(SliceError, match="systemd holds"):
            slices.open_claim_slice(1000, CLAIM, NODES)

    def test_an_empty_one_is_gone_when_closed(self, slices, systemd):
        slices.open_claim_slice(1000, CLAIM, NODES)
        slices.close_claim_slice(1000, CLAIM)
        slices.close_claim_slice(1000, CLAIM)
        assert CLAIM_SLICE not in systemd.units and slices.claim_slices() == []

    def test_what_runs_in_it_is_not_killed(self, slices, systemd):
        slices.open_claim_slice(1000, CLAIM, NODES)
        systemd.populate(CLAIM_SLICE)
        slices.close_claim_slice(1000, CLAIM)
        assert set(systemd.units[CLAIM_SLICE]["DeviceAllow"]) == set(WITHOUT_NVIDIA)
        assert ("StopUnit", CLAIM_SLICE) not in systemd.calls


class TestBreakage:
    @pytest.mark.parametrize("member", ["StartTransientUnit", "Get"])
    def test_a_refusal_is_said(self, slices, systemd, member):
        systemd.refuse[member] = "org.freedesktop.DBus.Error.AccessDenied"
        with pytest.raises(SliceError, match=f"{CLAIM_SLICE}.*{member} is refused"):
            slices.open_claim_slice(1000, CLAIM, NODES)

    def test_a_bus_that_hung_up_is_called_again(self, slices, systemd):
        slices.open_claim_slice(1000, CLAIM, NODES)
        systemd.hang_up()
        slices.open_claim_slice(1000, CLAIM, [(195, 0)])
        assert ("/dev/char/195:0", "rwm") in systemd.units[CLAIM_SLICE]["DeviceAllow"]

    @pytest.mark.parametrize("how", ["mute", "job"])
    def test_waiting_has_an_end(self, systemd, how):
        bus = SystemdBus(systemd.address, timeout=0.3)
        if how == "mute":
            systemd.mute.add("StartTransientUnit")
        else:
            systemd.jobs = False
        start = time.monotonic()
        with pytest.raises(BusError, match=r"StartTransientUnit x\.slice"):
            bus.start_transient("x.slice", [])
        assert time.monotonic() - start < 3
        systemd.mute.clear()
        systemd.jobs = True
        bus.start_transient("y.slice", [])
        bus.close()

    def test_no_bus(self, tmp_path):
        with pytest.raises(BusError, match="can't be asked at unix:path="):
            SystemdBus(f"unix:path={tmp_path}/none").start("x.slice")

    def test_stopping_what_is_not_there(self, systemd):
        bus = SystemdBus(systemd.address, timeout=5.0)
        bus.stop("x.slice")
        bus.close()


def test_object_paths_of_units():
    assert unit_path("ds01-u1000.slice") == "/org/freedesktop/systemd1/unit/ds01_2du1000_2eslice"
    assert unit_path("1.slice").endswith("/_31_2eslice")
