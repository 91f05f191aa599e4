# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Bind roots become nosuid and nodev by their own unit or by a bind mount of themselves."""

from __future__ import annotations

import subprocess

import pytest

from ds01.core.mount_plan import MountError, fstab_options, parse_mountinfo, plan_directory, unit_name

MOUNTINFO = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 254:1 / /home rw,relatime shared:2 - xfs /dev/vdb rw,usrquota
31 22 254:0 /scratch /scratch rw,nosuid,nodev,relatime shared:3 - ext4 /dev/vda rw
32 22 254:2 / /mnt/a\040b rw,relatime - ext4 /dev/vdc rw
33 22 0:40 / /net rw,relatime - autofs systemd-1 rw
34 22 254:3 / /by-hand rw,nosuid,nodev - ext4 /dev/vdd rw
"""
MOUNTS = parse_mountinfo(MOUNTINFO)
FSTAB = fstab_options("# c\n/dev/vdb /home xfs defaults,usrquota 0 2\n/dev/x none swap sw\n/dev/vdc /mnt/a\\040b ext4 suid,noatime\n")


def test_a_filesystem_of_its_own_keeps_its_options() -> None:
    plan = plan_directory("/home", MOUNTS, FSTAB)
    assert not plan.bind and not plan.in_force
    assert plan.unit_file.path == "/etc/systemd/system/home.mount.d/50-ds01.conf"
    assert "\nOptions=usrquota,nosuid,nodev\n" in plan.unit_file.content


def test_an_option_that_allows_is_replaced() -> None:
    plan = plan_directory("/mnt/a b", MOUNTS, FSTAB)
    assert "\nOptions=noatime,nosuid,nodev\n" in plan.unit_file.content and plan.unit_file.unit == "mnt-a\\x20b.mount"


def test_a_directory_is_bound_onto_itself() -> None:
    plan = plan_directory("/srv/data", MOUNTS, FSTAB)
    assert plan.bind and not plan.in_force
    assert "What=/srv/data\nWhere=/srv/data\n" in plan.unit_file.content and "Options=bind,nosuid,nodev" in plan.unit_file.content


def test_a_bind_mount_of_ours_is_in_force() -> None:
    assert plan_directory("/scratch", MOUNTS, FSTAB).in_force


@pytest.mark.parametrize(
    ("directory", "message"),
    [("/", "below /"), ("home", "absolute"), ("/home/", "slash"), ("/a/../b", "'..'"), ("/net", "automounter"), ("/by-hand", "/etc/fstab")],
)
def test_refusals(directory: str, message: str) -> None:
    with pytest.raises(MountError, match=message.replace(".", r"\.")):
        plan_directory(directory, MOUNTS, FSTAB)


@pytest.mark.parametrize("path", ["/home", "/srv/a-b", "/mnt/a b", "/.hidden/x", "/ä/ö", "/data:1/x_y.z", "/a\\b"])
def test_unit_names_are_those_of_systemd(path: str) -> None:
    told = subprocess.run(
        ["systemd-escape", "--path", "--suffix=mount", "--", path], check=True, capture_output=True, text=True
    ).stdout.strip()
    assert unit_name(path) == told
