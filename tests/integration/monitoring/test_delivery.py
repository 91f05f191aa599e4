# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""An alert goes into the real Alertmanager, with the role's configuration, and comes out as mail and as a Teams card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemons import wait_until
from tests.integration.monitoring.programs import alertmanager, ask
from tests.integration.monitoring.role import SERVER, alerts
from tests.integration.monitoring.sinks import MailSink, TeamsSink, serving

PASSWORD = "a-password-of-the-vault"
TEAMS_LIMIT = 28 * 1024
"""Bytes of a card that a workflow takes."""
ARRIVES_S = 30.0


@dataclass
class Post:
    """Alertmanager and where it delivers to."""

    address: str
    mail: MailSink
    teams: TeamsSink
    log: Path

    def send(self, *found: dict[str, Any]) -> None:
        """Alerts, as Prometheus sends them."""
        ask(f"http://{self.address}/api/v2/alerts", list(found))

    def mail_about(self, name: str, word: str) -> Any:
        """The mail with both words in its subject, None before it is there."""
        return next((one for one in self.mail.mails if name in one["Subject"] and word in one["Subject"]), None)

    def card_about(self, name: str, word: str) -> Any:
        """The same as a post."""
        return next((post for post in self.teams.posts if name in str(post[3]) and word in str(post[3])), None)


@pytest.fixture(scope="module")
def post(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    """One Alertmanager; every test has an alert of its own."""
    directory = tmp_path_factory.mktemp("alertmanager")
    mail, teams = MailSink(PASSWORD), TeamsSink()
    variables = {
        "monitoring_smtp_host": mail.address,
        "monitoring_smtp_tls": False,
        "monitoring_smtp_user": "ds01",
        "monitoring_mail_from": "ds01@gpu1.example",
        "monitoring_mail_to": ["admin@lab.example", "second@lab.example"],
    }
    with serving(mail), serving(teams), alertmanager(tools, directory, password=PASSWORD, teams_url=teams.url, **variables) as address:
        yield Post(address, mail, teams, directory / "alertmanager.log")


def alert(name: str, over: bool = False, **labels: str) -> dict[str, Any]:
    rule = alerts()[name]
    now = datetime.now(timezone.utc)
    found: dict[str, Any] = {
        "labels": {"alertname": name, "host": SERVER, "severity": rule["labels"]["severity"], **labels},
        "annotations": {"summary": f"what {name} says of {labels}", "runbook": rule["annotations"]["runbook"]},
        "startsAt": (now - timedelta(minutes=3)).isoformat(),
    }
    return {**found, "endsAt": now.isoformat()} if over else found


def test_an_alert_arrives_as_mail_and_as_card_and_so_does_its_end(post: Post) -> None:
    post.send(alert("DS01GpuXid", gpu_uuid="GPU-1"))
    wait_until(lambda: post.mail_about("DS01GpuXid", "CRITICAL") and post.card_about("DS01GpuXid", "CRITICAL"), ARRIVES_S, "mail and card")
    mail = post.mail_about("DS01GpuXid", "CRITICAL")
    assert mail["Subject"] == f"[CRITICAL] DS01GpuXid on {SERVER}"
    assert mail["From"] == "ds01@gpu1.example"
    wait_until(lambda: {"admin@lab.example", "second@lab.example"} <= set(post.mail.recipients), ARRIVES_S, "mail for both addresses")
    text = mail.get_body(("plain",)).get_content()
    assert "what DS01GpuXid says of {'gpu_uuid': 'GPU-1'}" in text
    assert "What to do: docs/runbooks/DS01GpuXid.md" in text
    assert mail.get_body(("html",)) is None

    path, content_type, size, body = post.card_about("DS01GpuXid", "CRITICAL")
    assert path == "/workflows/secret-of-the-workflow"
    assert content_type.startswith("application/json")
    assert size < TEAMS_LIMIT
    (attachment,) = body["attachments"]
    card = attachment["content"]
    assert body["type"] == "message"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.2")
    words = [block["text"] for block in card["body"] if block["type"] == "TextBlock"]
    assert words[0] == f"[CRITICAL] DS01GpuXid on {SERVER}"
    assert "docs/runbooks/DS01GpuXid.md" in words[1]

    post.send(alert("DS01GpuXid", over=True, gpu_uuid="GPU-1"))
    wait_until(lambda: post.mail_about("DS01GpuXid", "OVER") and post.card_about("DS01GpuXid", "OVER"), ARRIVES_S, "word of the end")
    assert "Over: what DS01GpuXid" in post.mail_about("DS01GpuXid", "OVER").get_body(("plain",)).get_content()


def test_a_flood_is_one_card_that_teams_takes(post: Post) -> None:
    long = "student-with-a-long-name-" + "x" * 200
    post.send(*(alert("DS01HostGpuProcess", user=f"{long}{number}") for number in range(200)))
    wait_until(lambda: post.card_about("DS01HostGpuProcess", "200 times"), ARRIVES_S, "the card")
    cards = [one for one in post.teams.posts if "DS01HostGpuProcess" in str(one[3])]
    assert max(size for _, _, size, _ in cards) < TEAMS_LIMIT
    assert "200 in all" in str(post.card_about("DS01HostGpuProcess", "200 times")[3])
    assert len(cards) < 10, "a card for each alert"


def test_what_is_only_for_information_wakes_nobody_and_a_dead_watcher_speaks_for_all(post: Post) -> None:
    post.send(alert("DS01OutOfMemory", uid="1001"), alert("DS01WatchDown"))
    wait_until(lambda: post.mail_about("DS01WatchDown", "CRITICAL"), ARRIVES_S, "mail about the watcher")
    post.send(alert("DS01SourceAway", source="gpu"), alert("DS01ClaimLeak"), alert("DS01DiskFull", mountpoint="/home"))
    wait_until(lambda: post.mail_about("DS01DiskFull", "WARNING"), ARRIVES_S, "mail about the disk, sent after the others")
    known = {one["labels"]["alertname"]: one for one in ask(f"http://{post.address}/api/v2/alerts")}
    assert [known[name]["status"]["state"] for name in ("DS01SourceAway", "DS01ClaimLeak")] == ["suppressed"] * 2
    assert known["DS01DiskFull"]["status"]["state"] == "active"
    assert [one["name"] for one in known["DS01OutOfMemory"]["receivers"]] == ["nobody"]
    subjects = " ".join(str(mail["Subject"]) for mail in post.mail.mails)
    assert all(name not in subjects for name in ("DS01OutOfMemory", "DS01SourceAway", "DS01ClaimLeak"))


def test_the_secrets_are_in_no_log(post: Post) -> None:
    assert post.mail.refused == 0
    text = post.log.read_text()
    assert PASSWORD not in text
    assert "secret-of-the-workflow" not in text
    assert PASSWORD not in ask(f"http://{post.address}/api/v2/status")["config"]["original"]
