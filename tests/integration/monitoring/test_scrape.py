# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The real Prometheus scrapes the real watcher, evaluates the role's rules, and tells Alertmanager, which sends mail."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.daemons import REPOSITORY, wait_until
from tests.integration.monitoring.programs import Prometheus, alertmanager, free_port, program, prometheus
from tests.integration.monitoring.role import SERVER, render, write_rules
from tests.integration.monitoring.sinks import MailSink, serving
from tests.simulated_gpu import simulated_gpus

SOON_S = 40.0


@pytest.fixture(scope="module")
def mail() -> Iterator[MailSink]:
    """Where alerts go."""
    sink = MailSink()
    with serving(sink):
        yield sink


@pytest.fixture(scope="module")
def watched(tools: Path, mail: MailSink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Watcher (two simulated GPUs, no dockerd), Prometheus and Alertmanager, wired as on a server."""
    directory = tmp_path_factory.mktemp("scrape")
    gpus = simulated_gpus(directory, ["a100-40gb", "h100-80gb"])
    lib, port = directory / "lib", free_port()
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "plugins" / "module_utils", lib / "ds01", ignore=ignore)
    shutil.copytree(REPOSITORY / "files" / "ds01_watch", lib / "ds01_watch", ignore=ignore)
    (directory / "cdi").mkdir()
    options = {
        "docker": directory / "no-dockerd.sock",
        "claims": directory / "cdi",
        "claims-lock": directory / "claims.lock",
        "inventory": directory / "inventory.json",
        "events": directory / "events.jsonl",
        "gpu-interval": "0.5",
        "listen": f"127.0.0.1:{port}",
    }
    watcher = [sys.executable, "-m", "ds01_watch", *(f"--{name}={value}" for name, value in options.items())]
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(lib), "PYTHONDONTWRITEBYTECODE": "1", **gpus.env}
    smtp = {"monitoring_smtp_host": mail.address, "monitoring_smtp_tls": False, "monitoring_mail_to": ["admin@lab.example"]}
    write_rules(directory / "rules")
    (directory / "alertmanager").mkdir()
    with (
        program(watcher, directory / "watch.log", f"http://127.0.0.1:{port}/metrics", **environment),
        alertmanager(tools, directory / "alertmanager", **smtp) as alerting,
        prometheus(tools, directory, impatient(directory, port, alerting)) as found,
    ):
        yield found


def impatient(directory: Path, watch_port: int, alertmanager_address: str) -> str:
    """The role's configuration for these ports, which looks every second and alerts at once."""
    for path in (directory / "rules").glob("*.yml"):
        document = yaml.safe_load(path.read_text())
        for group in document["groups"]:
            group["interval"] = "1s"
            for rule in group["rules"]:
                rule.pop("for", None)
        path.write_text(yaml.safe_dump(document))
    text = render("prometheus.yml.j2", monitoring_watch_port=watch_port)
    document = yaml.safe_load(text)
    document["global"].update(scrape_interval="1s", evaluation_interval="1s")
    document["rule_files"] = [str(directory / "rules" / "*.yml")]
    document["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager_address]
    targets = {"alertmanager": [alertmanager_address]}
    document["scrape_configs"] = [one for one in document["scrape_configs"] if one["job_name"] in ("ds01", "alertmanager")]
    for one in document["scrape_configs"]:
        one["static_configs"][0]["targets"] = targets.get(one["job_name"], one["static_configs"][0]["targets"])
    return yaml.safe_dump(document)


def test_the_targets_are_up_and_the_rules_evaluate(watched: Prometheus) -> None:
    wait_until(lambda: watched.query("sum(up)") == {"": 2.0}, SOON_S, "both targets up")
    targets = {one["labels"]["job"]: one["health"] for one in watched.get("targets")["activeTargets"]}
    assert targets == {"ds01": "up", "alertmanager": "up"}

    def evaluated() -> bool:
        groups = watched.get("rules")["groups"]
        return bool(groups) and all(rule["health"] == "ok" for group in groups for rule in group["rules"])

    wait_until(evaluated, SOON_S, "every rule evaluated without an error")
    assert {group["name"] for group in watched.get("rules")["groups"]} >= {"ds01-usage", "ds01-rollups", "ds01-factors", "ds01-gpu"}


def test_what_the_simulated_gpus_do_is_in_the_series(watched: Prometheus) -> None:
    wait_until(lambda: watched.query("sum(ds01_gpu_healthy)") == {"": 2.0}, SOON_S, "two GPUs")
    wait_until(lambda: watched.query("count(gpu:ds01_gpu_energy_kwh:inc1m > 0)") == {"": 2.0}, SOON_S, "their energy")
    assert watched.query("ds01:gpu_equivalents_free:sum") == {"": 2.0}


def test_the_missing_dockerd_is_mailed(watched: Prometheus, mail: MailSink) -> None:
    def told() -> bool:
        return any("DS01SourceAway" in str(one["Subject"]) for one in mail.mails)

    wait_until(told, SOON_S, "mail about the source that is away")
    found = next(one for one in mail.mails if "DS01SourceAway" in str(one["Subject"]))
    assert found["Subject"] == f"[CRITICAL] DS01SourceAway on {SERVER}"
    assert "docker does not answer the watcher" in found.get_body(("plain",)).get_content()
    names = {one["labels"]["alertname"] for one in watched.get("alerts")["alerts"]}
    assert "DS01WatchDown" not in names
