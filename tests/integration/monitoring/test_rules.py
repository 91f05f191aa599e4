# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The rules with the servers' own promtool and amtool: every alert fires when it must, stays quiet when it must, and has a runbook."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from ..daemons import REPOSITORY

ROLE = REPOSITORY / "roles" / "monitoring"
CASES = REPOSITORY / "tests" / "monitoring"


@pytest.fixture(scope="module")
def tools() -> Path:
    """The directory of promtool and amtool."""
    done = subprocess.run([str(REPOSITORY / "dev" / "monitoring-tree")], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip()) / "usr" / "bin"


def render(template: str, **changes: Any) -> str:
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    return environment.from_string((ROLE / "templates" / template).read_text()).render(**{**defaults, **changes})


def run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts() -> dict[str, dict[str, Any]]:
    groups = [group for path in (ROLE / "files" / "rules").glob("*.yml") for group in yaml.safe_load(path.read_text())["groups"]]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_rules_give_what_the_cases_say(tools: Path, tmp_path: Path) -> None:
    shutil.copytree(ROLE / "files" / "rules", tmp_path / "rules")
    factors = render("factors.yml.j2", monitoring_grid_gco2e_per_kwh=400, monitoring_pue=1.25)
    (tmp_path / "rules" / "factors.yml").write_text(factors)
    for case in CASES.glob("*_test.yml"):
        shutil.copy(case, tmp_path)
    run(tools / "promtool", "check", "rules", *sorted((tmp_path / "rules").glob("*.yml")))
    run(tools / "promtool", "test", "rules", *sorted(tmp_path.glob("*_test.yml")))


def test_every_alert_is_seen_to_fire_and_to_stay_quiet_and_has_a_runbook() -> None:
    fired, quiet = set(), set()
    for path in CASES.glob("*_test.yml"):
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test.get("alert_rule_test", ()):
                (fired if case.get("exp_alerts") else quiet).add(case["alertname"])
    assert fired == quiet == set(alerts())
    for name, rule in alerts().items():
        book = REPOSITORY / rule["annotations"]["runbook"]
        assert book.is_file(), f"{name}: {book} is missing"
        assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_what_rules_ask_for_is_exported() -> None:
    """Series of our own that a rule reads are made by the watcher, by another rule, or by a program that names them."""
    rules = "".join(path.read_text() for path in (ROLE / "files" / "rules").glob("*.yml")) + render("factors.yml.j2")
    wanted = set(re.findall(r"\bds01_[a-z0-9_]+", rules))
    sources = "".join(p.read_text() for p in (*REPOSITORY.glob("files/ds01_*/*.py"), *REPOSITORY.glob("roles/*/templates/*")))
    made = set(re.findall(r"ds01_[a-z0-9_]+", sources)) | set(re.findall(r"record: (?:\w+:)*(ds01_[a-z0-9_]+)", rules))
    missing = {name for name in wanted if name not in made and name.removesuffix("_total") not in made}
    assert missing <= {"ds01_backup_last_success_timestamp_seconds"}


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
