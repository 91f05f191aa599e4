# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Prometheus and what it watches on the lab server: up, enabled, fenced off, and in agreement with ``ds01 health``."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.lab.server_access import Account, wait_until

UNITS = ("prometheus.service", "prometheus-alertmanager.service", "prometheus-node-exporter.service", "ds01-monitoring-fence.service")
# bash's own TCP, because a person need not have curl.
CONNECT = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'"
TARGETS = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9090/api/v1/targets', timeout=20).read().decode())"


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_runs_and_will_after_a_reboot(lab: Account, unit: str) -> None:
    assert lab.must(f"systemctl is-active {unit}") == "active"
    assert lab.must(f"systemctl is-enabled {unit}") == "enabled"


def test_every_target_is_scraped(lab: Account) -> None:
    def health() -> dict[str, str]:
        answer = json.loads(lab.must(f'python3 -c "{TARGETS}"'))
        return {one["labels"]["job"]: one["health"] for one in answer["data"]["activeTargets"]}

    wanted = dict.fromkeys(("ds01", "node", "prometheus", "alertmanager"), "up")
    wait_until("all targets are up", lambda: health() == wanted, 120)


@pytest.mark.parametrize("port", [9090, 9093, 9100, 9101])
def test_the_ports_are_roots_and_not_a_students(lab: Account, as_user: Callable[[str], Account], port: int) -> None:
    assert lab.run(CONNECT.format(port=port)).ok
    refused = as_user("student1").run(CONNECT.format(port=port))
    assert not refused.ok and "refused" in refused.err


def test_health_sees_the_parts_that_enforce(lab: Account) -> None:
    found = json.loads(lab.run("ds01 health --json").out)
    assert found["complete"]
    enforcing = ("gate", "guard", "splice", "watcher", "slices", "claims", "policy")
    bad = [one for one in found["findings"] if one["part"] in enforcing and one["level"] == "fail"]
    assert bad == []
    assert {one["part"] for one in found["findings"]} >= set(enforcing)


def test_a_student_sees_the_gate_and_is_told_who_sees_the_rest(as_user: Callable[[str], Account]) -> None:
    done = as_user("student1").run("ds01 health")
    assert "sudo ds01 health" in done.out and "gate" in done.out
    assert "Traceback" not in done.err
