# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Verdicts on what the platform stands on: disks, clock, policy, event log, and the monitoring that should have said so already."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .health import Finding, Level, fail, ok, warn

_WARN_FREE, _FAIL_FREE = 0.10, 0.03


@dataclass(frozen=True)
class DiskFacts:
    """A file system. ``inodes`` is 0 where the file system makes them as it goes."""

    path: str
    size: int
    free: int
    inodes: int
    inodes_free: int
    read_only: bool = False


@dataclass(frozen=True)
class LogFacts:
    """The event log. ``error`` says why it can't be looked at; ``mode`` and ``directory_mode`` as in stat(2); ``unwritten`` how many
    events were lost since the watcher's start."""

    path: str
    error: str | None = None
    mode: int = 0
    roots: bool = True
    directory_mode: int = 0
    unwritten: int | None = None


def disks(found: Sequence[DiskFacts]) -> list[Finding]:
    """Room for data and for files, on every file system that the platform writes to."""
    findings = []
    for disk in found:
        clean = f"du -xh --max-depth=2 {disk.path} | sort -h | tail; docs/runbooks/DS01DiskFull.md"
        if disk.read_only:
            findings.append(
                fail("disk", f"{disk.path} is read-only", "journalctl -k -g 'I/O error|remount'; docs/runbooks/DS01DiskReadOnly.md")
            )
        for share, what in (
            (disk.free / disk.size if disk.size else 1.0, "of its space"),
            (disk.inodes_free / disk.inodes if disk.inodes else 1.0, "of its inodes"),
        ):
            if share < _WARN_FREE:
                level = Level.FAIL if share < _FAIL_FREE else Level.WARN
                findings.append(Finding("disk", level, f"{disk.path} has {share:.1%} {what} free", clean))
    least = min(found, key=lambda disk: disk.free / disk.size if disk.size else 1.0, default=None)
    if findings or least is None:
        return findings or [warn("disk", "no file system could be looked at", "df -h")]
    return [ok("disk", f"{least.path} has least, {least.free / least.size:.0%} free")]


def clock(synchronised: bool | None) -> list[Finding]:
    """None: the kernel does not say."""
    step = "timedatectl timesync-status; systemctl restart systemd-timesyncd"
    if synchronised is None:
        return [warn("clock", "the kernel does not say whether the clock is synchronised", step)]
    return (
        [ok("clock", "is synchronised")]
        if synchronised
        else [warn("clock", "is not synchronised: reservations and limits follow it", step)]
    )


def policy(errors: Sequence[str], warnings: Sequence[str]) -> list[Finding]:
    """What the policy check says of the file in place."""
    step = "ds01 policy check /etc/ds01/policy.json; ansible-playbook playbooks/site.yml --tags policy"
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        return [fail("policy", f"is not valid, so the last good one holds: {errors[0]}{more}", step)]
    if warnings:
        return [warn("policy", f"{warnings[0]}" + (f" (and {len(warnings) - 1} more)" if len(warnings) > 1 else ""), step)]
    return [ok("policy", "is valid")]


def event_log(log: LogFacts) -> list[Finding]:
    """Whether events are kept, and by nobody but root to be changed."""
    if log.error is not None:
        return [fail("event log", f"{log.path}: {log.error}", "ls -la /var/log/ds01; df -h /var/log; docs/runbooks/DS01EventsLost.md")]
    found = []
    if not log.roots or (log.mode | log.directory_mode) & (stat.S_IWOTH | stat.S_IWGRP):
        found.append(
            fail("event log", f"{log.path} can be changed by others than root", f"chown root:adm {log.path}; chmod 0640 {log.path}")
        )
    if log.unwritten:
        found.append(warn("event log", f"{log.unwritten} events were lost since the watcher started", "docs/runbooks/DS01EventsLost.md"))
    return found or [ok("event log", "is written and is root's alone")]


def prometheus(
    installed: bool, targets: Sequence[Mapping[str, Any]] | None, rules: Sequence[Mapping[str, Any]], error: str
) -> list[Finding]:
    """``targets`` and ``rules`` as its API has them; None: it did not answer, for the reason ``error``."""
    if not installed:
        return [Finding("prometheus", Level.ABSENT, "this server has no Prometheus")]
    if targets is None:
        return [fail("prometheus", f"does not answer: {error}", "systemctl status prometheus; journalctl -u prometheus -n 50")]
    found = []
    down = sorted(str(one["labels"].get("job")) for one in targets if one.get("health") == "down")
    if down:
        found.append(fail("prometheus", f"can't scrape {', '.join(down)}", "docs/runbooks/DS01TargetDown.md"))
    broken = sorted({str(rule.get("name")) for rule in rules if rule.get("health") == "err"})
    if broken:
        found.append(
            fail("prometheus", f"rules end in an error: {', '.join(broken[:5])}", "journalctl -u prometheus -g 'Evaluating rule failed'")
        )
    firing = sorted({str(rule.get("name")) for rule in rules if rule.get("state") == "firing"})
    if firing:
        found.append(warn("prometheus", f"alerts: {', '.join(firing)}", f"docs/runbooks/{firing[0]}.md; amtool alert"))
    return found or [ok("prometheus", f"scrapes {len(targets)} targets; no alert")]


def alertmanager(installed: bool, status: Mapping[str, Any] | None, error: str) -> list[Finding]:
    """``status`` as its API has it."""
    if not installed:
        return [Finding("alertmanager", Level.ABSENT, "this server has no Alertmanager")]
    if status is None:
        return [fail("alertmanager", f"does not answer: {error}", "systemctl status prometheus-alertmanager")]
    original = str((status.get("config") or {}).get("original", ""))
    if not any(word in original for word in ("email_configs", "msteamsv2_configs", "webhook_configs", "slack_configs")):
        return [warn("alertmanager", "has no receiver: alerts reach nobody", "monitoring_mail_to or monitoring_teams_url in the inventory")]
    return [ok("alertmanager", "answers and has receivers")]
