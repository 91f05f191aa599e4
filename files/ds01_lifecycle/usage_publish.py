# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Publishes everybody's GPU-hours of this week and month to themselves: from Prometheus, or where it does not answer from the event log.

People can't ask Prometheus, which tells of everybody, nor read the event log. So root looks, and leaves each of them a file that only they
can read. The event log knows who held what, and nothing of how it was used.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ds01 import json_state, prometheus_query
from ds01.core import usage_report
from ds01.core.event_query import EventQuery
from ds01.core.gpu_hours import holdings, hours_by
from ds01.core.usage_report import SPANS, Hours
from ds01.event_log import EventLog
from ds01.policy_file import facts_by_name
from ds01.prometheus_query import PrometheusUnavailable

_LOG = logging.getLogger("ds01.usage")
_WHAT = ("allocated", "used", "measurable")
USAGE = Path("/run/ds01/usage")
LAB = "lab.json"
_BEFORE_S = 14 * 86400.0
"""A claim may have been granted so long before a span begins."""
Ask = Callable[[str, str], dict[str, float]]


def from_prometheus(now: float, ask: Ask) -> dict[str, Hours]:
    """Hours of each span; raises PrometheusUnavailable, also where nothing was recorded."""
    found = {}
    for name, begin in usage_report.begins(now).items():
        seconds = max(60, int(now - begin))
        values = [ask(f"sum by (user) (sum_over_time(user:ds01_gpu_hours_{what}:inc1m[{seconds}s]))", "user") for what in _WHAT]
        found[name] = Hours(*values)
    if not any(one.held for one in found.values()):
        raise PrometheusUnavailable("it has recorded no GPU-hours")
    return found


def from_events(now: float, log: EventLog) -> dict[str, Hours]:
    """Hours of each span from who held what; nothing of how well it was used. Raises OSError."""
    begins = usage_report.begins(now)
    query = EventQuery(kind="claim.*", since=min(begins.values()) - _BEFORE_S)
    held = list(holdings(log.read(query), now))
    return {name: Hours(hours_by(held, lambda one: one.user, begins[name], now)) for name in SPANS}


def publish(spans: Mapping[str, Hours], now: float, source: str, directory: Path, uid_of: Callable[[str], int]) -> int:
    """Write everybody's file and the lab's; how many people there are. Raises OSError."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    kept = {LAB}
    for user in sorted(usage_report.people(spans)):
        try:
            uid = uid_of(user)
        except LookupError:
            continue  # gone since
        kept.add(f"{uid}.json")
        json_state.write(str(directory / f"{uid}.json"), usage_report.for_person(spans, user), 0o400, uid)
    json_state.write(str(directory / LAB), usage_report.for_everybody(spans, now, source), 0o644)
    for path in directory.glob("*.json"):
        if path.name not in kept:
            path.unlink()
    return len(kept) - 1


def run(directory: Path = USAGE, log: EventLog | None = None, ask: Ask | None = None, now: float | None = None) -> int:
    """Look and publish; the exit code. Raises OSError."""
    at = time.time() if now is None else now
    try:
        spans, source = from_prometheus(at, ask or prometheus_query.by_label), "prometheus"
    except PrometheusUnavailable as error:
        _LOG.info("%s; the event log is read instead", error)
        spans, source = from_events(at, log or EventLog()), "events"
    count = publish(spans, at, source, directory, lambda name: facts_by_name(name).uid)
    _LOG.info("GPU-hours of %d people from %s", count, source)
    return 0
