# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The rules with the servers' own promtool and amtool: every alert fires when it must, stays quiet when it must, and has a runbook."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.daemons import REPOSITORY
from tests.integration.monitoring.role import CASES, ROLE, alerts, render, run, write_rules

# What no program of the platform makes itself: a site's backup does.
MADE_ELSEWHERE = {"ds01_backup_last_success_timestamp_seconds"}
RUNBOOKS = REPOSITORY / "docs" / "runbooks"


def test_rules_give_what_the_cases_say(tools: Path, tmp_path: Path) -> None:
    rules = write_rules(tmp_path / "rules", monitoring_grid_gco2e_per_kwh=400, monitoring_pue=1.25)
    for case in CASES.glob("*_test.yml"):
        shutil.copy(case, tmp_path)
    run(tools / "promtool", "check", "rules", *rules)
    run(tools / "promtool", "test", "rules", *sorted(tmp_path.glob("*_test.yml")))


def test_every_alert_is_seen_to_fire_and_to_stay_quiet_and_has_a_runbook() -> None:
    fired, quiet = set(), set()
    for path in CASES.glob("*_test.yml"):
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test.get("alert_rule_test", ()):
                (fired if case.get("exp_alerts") else quiet).add(case["alertname"])
    assert fired == quiet == set(alerts())


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    wanted = {}
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), name
        assert set(rule["annotations"]) == {"summary", "runbook"}, name
        wanted[name] = REPOSITORY / rule["annotations"]["runbook"]
    assert set(wanted.values()) == set(RUNBOOKS.glob("*.md"))
    for book in set(wanted.values()):
        text = book.read_text()
        assert re.match(rf"# {book.stem}: \S", text), f"{book}: the title is the name of an alert and what it means"
        assert "\n1. " in text, f"{book}: no steps"
        named = {name for name, path in wanted.items() if path == book}
        assert all(name in text for name in named), f"{book}: says nothing of {named}"


def test_the_documentation_lists_every_alert_with_its_severity() -> None:
    table = re.findall(r"^\| `(DS01\w+)` \| (\w+) \|", (REPOSITORY / "docs" / "monitoring.md").read_text(), re.MULTILINE)
    assert dict(table) == {name: rule["labels"]["severity"] for name, rule in alerts().items()}
    assert len(table) == len(alerts())


def test_what_rules_ask_for_is_exported() -> None:
    """Series of our own that a rule reads are made by the watcher, by another rule, or by a program that names them."""
    rules = "".join(path.read_text() for path in (ROLE / "files" / "rules").glob("*.yml")) + render("factors.yml.j2")
    wanted = set(re.findall(r"\bds01_[a-z0-9_]+", rules))
    sources = "".join(p.read_text() for p in (*REPOSITORY.glob("files/ds01_*/*.py"), *REPOSITORY.glob("roles/*/templates/*")))
    made = set(re.findall(r"ds01_[a-z0-9_]+", sources)) | set(re.findall(r"record: (?:\w+:)*(ds01_[a-z0-9_]+)", rules))
    missing = {name for name in wanted if name not in made and name.removesuffix("_total") not in made}
    assert missing <= MADE_ELSEWHERE


@pytest.mark.parametrize("changes", [{}, {"monitoring_dcgm_enabled": True}])
def test_prometheus_takes_the_configuration(tools: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    (tmp_path / "prometheus.yml").write_text(render("prometheus.yml.j2", **changes))
    run(tools / "promtool", "check", "config", "--syntax-only", tmp_path / "prometheus.yml")


@pytest.mark.parametrize(
    ("changes", "severity", "receiver"),
    [
        ({}, "critical", "admin"),
        (
            {"monitoring_smtp_host": "localhost:25", "monitoring_mail_to": ["admin@lab.example"], "monitoring_smtp_tls": False},
            "warning",
            "admin",
        ),
        (
            {"monitoring_smtp_host": "localhost:25", "monitoring_smtp_user": "ds01", "monitoring_teams_url": "https://teams.example/x"},
            "info",
            "nobody",
        ),
    ],
)
def test_alertmanager_takes_the_configuration_and_routes_by_severity(
    tools: Path, tmp_path: Path, changes: dict[str, Any], severity: str, receiver: str
) -> None:
    path = tmp_path / "alertmanager.yml"
    path.write_text(render("alertmanager.yml.j2", **changes))
    run(tools / "amtool", "check-config", path)
    routed = run(tools / "amtool", "config", "routes", "test", f"--config.file={path}", f"severity={severity}", "alertname=DS01Test")
    assert routed.strip() == receiver
    assert "teams.example" not in path.read_text()
