# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Slices of people as the policy has it, and the drop-ins of the fence: what the roles hand to the modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.ds01.infra.plugins.filter.fence_files import fence_files
from ansible_collections.ds01.infra.plugins.filter.people_slices import people_slices
from ansible_collections.ds01.infra.plugins.module_utils.core.device_filter import WITHOUT_NVIDIA, unit_lines

ROOT = Path(__file__).resolve().parents[3]
POLICY: dict[str, Any] = {
    "version": 1,
    "default_group": "students",
    "groups": {
        "students": {"limits": {"aggregate": {"cpus": 16, "memory_max": "64G", "memory_high": "48G"}}},
        "staff": {"linux_groups": ["staff"], "limits": {"aggregate": {"cpus": 32}}},
    },
}


def test_by_uid_and_in_order() -> None:
    people: list[dict[str, Any]] = [
        {"name": "zoe", "uid": 1009, "groups": ["staff"]},
        {"name": "amy"},
        {"name": "gone", "uid": 7, "state": "absent"},
        {"name": "root", "uid": 0},
    ]
    found = people_slices(people, POLICY, {"amy": ["x", "1001", "1001", "", "/home/amy", "/bin/bash"]}, ["/var/lib/docker"])
    assert [item["name"] for item in found] == ["ds01-u1001.slice", "ds01-u1009.slice"]
    assert (found[0]["cpus"], found[0]["memory_max"], found[1]["cpus"]) == (16, 64 * 2**30, 32)
    assert all(item["device_filter"] == "open" and item["io_paths"] == [] for item in found)


def test_without_a_uid_there_is_no_slice() -> None:
    assert people_slices([{"name": "ldap.person"}], POLICY) == []


@pytest.mark.parametrize("people", [["amy"], [{"uid": 5}], [{"name": "a", "uid": 5}, {"name": "b", "uid": 5}]])
def test_what_is_no_list_of_people(people: list[Any]) -> None:
    with pytest.raises(AnsibleFilterError):
        people_slices(people, POLICY)


def test_a_policy_with_a_mistake() -> None:
    with pytest.raises(AnsibleFilterError, match="ds01_policy"):
        people_slices([], {"version": 1})


def test_the_fence() -> None:
    found = {
        item["path"].split("/")[4]: item for item in fence_files([{"name": "cron.service"}, {"name": "atd.service", "state": "absent"}])
    }
    closed = "\n".join(unit_lines(WITHOUT_NVIDIA))
    assert f"[Slice]\n{closed}\n" in found["user-.slice.d"]["content"]
    assert f"[Service]\n{closed}\n" in found["cron.service.d"]["content"]
    assert "DevicePolicy=auto\nDeviceAllow=\n" in found["user-0.slice.d"]["content"]
    assert found["atd.service.d"]["state"] == "absent"
    names = {item["path"].rsplit("/", 1)[1] for item in found.values()}
    assert len(names) == 1, "a file overrides the one of the template by having its name"
    assert all(item.get("state") == "absent" for item in fence_files([{"name": "cron.service"}], False))


@pytest.mark.parametrize("service", ["cron.service", {"name": "cron"}, {"name": "../x.service"}, {}])
def test_what_is_no_service(service: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=r"cron\.service"):
        fence_files([service])


def test_the_drop_in_of_the_platform_is_the_filter_of_the_core() -> None:
    text = (ROOT / "roles/slices/templates/10-no-gpu.conf.j2").read_text()
    assert text.endswith("[Slice]\n" + "\n".join(unit_lines(WITHOUT_NVIDIA)) + "\n")
