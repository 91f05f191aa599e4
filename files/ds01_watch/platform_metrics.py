# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Metrics of the platform's own parts: the gate's verdicts and its pace, what went into the event log, and the watcher itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ds01.core.gate_measures import BOUNDS_S, GateMeasures

from .log_counts import LogCounts

GATE_SILENT_S = 30.0
"""The gate writes every five seconds; one that has not for so long does not work."""


@dataclass(frozen=True)
class OwnHealth:
    """Of the watcher: how many looks, how many of them failed, the seconds they took, when the last one ended (since the epoch), and
    how many events the log did not take."""

    looks: int = 0
    failed: int = 0
    seconds: float = 0.0
    last: float | None = None
    unwritten: int = 0


class PlatformCollector(Collector):
    """``gate`` gives what the gate said last, None where it said nothing; ``uptime`` seconds since boot."""

    def __init__(
        self,
        gate: Callable[[], GateMeasures | None],
        log: LogCounts,
        own: Callable[[], OwnHealth],
        uptime: Callable[[], float],
    ) -> None:
        self._gate = gate
        self._log = log
        self._own = own
        self._uptime = uptime

    def collect(self) -> Iterable[Metric]:
        """All metric families of one scrape."""
        said = self._gate()
        yield from self._of_gate(said)
        yield from self._of_log(said)
        own = self._own()
        yield SummaryMetricFamily(
            "ds01_watch_look_seconds", "Time that the watcher's looks took", count_value=own.looks, sum_value=own.seconds
        )
        yield CounterMetricFamily("ds01_watch_looks_failed", "Looks of the watcher that ended in an error", value=own.failed)
        if own.last is not None:
            yield GaugeMetricFamily("ds01_watch_last_look_timestamp_seconds", "When the watcher looked last", value=own.last)

    def _of_gate(self, said: GateMeasures | None) -> Iterator[Metric]:
        fresh = said is not None and 0 <= self._uptime() - said.uptime + 1 <= GATE_SILENT_S
        yield GaugeMetricFamily("ds01_gate_up", "1 while the gate gives signs of life", value=float(fresh))
        if said is None:
            return
        yield GaugeMetricFamily("ds01_gate_start_time_seconds", "When the gate was started, since the epoch", value=said.started)
        requests = CounterMetricFamily("ds01_gate_requests", "Requests to the gate by what became of them", labels=["verdict", "rule"])
        for (verdict, rule), count in sorted(said.verdicts.items()):
            requests.add_metric([verdict, rule], count)
        yield requests
        buckets, total = [], 0
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), said.judged, strict=True):
            total += count
            buckets.append((bound, float(total)))
        yield HistogramMetricFamily(
            "ds01_gate_judgement_seconds",
            "Time from an admitted request to the gate's verdict",
            buckets=buckets,
            sum_value=said.judged_seconds,
        )
        if fresh:
            yield GaugeMetricFamily("ds01_gate_connections", "Connections to the gate that are open", value=said.connections)
            yield GaugeMetricFamily("ds01_gate_policy_valid", "1 while the policy file is the policy in force", value=float(said.policy_ok))

    def _of_log(self, said: GateMeasures | None) -> Iterator[Metric]:
        events = CounterMetricFamily("ds01_events", "Events in the log since the watcher's start, by kind", labels=["kind"])
        for kind, count in sorted(self._log.kinds().items()):
            events.add_metric([kind], count)
        yield events
        refusals = CounterMetricFamily("ds01_claim_refusals", "Refused requests for GPUs, by rule", labels=["rule"])
        for rule, count in sorted(self._log.refusals().items()):
            refusals.add_metric([rule], count)
        yield refusals
        actions = CounterMetricFamily("ds01_lifecycle_actions", "What the lifecycle did to containers", labels=["action", "reason"])
        for (action, reason), count in sorted(self._log.actions().items()):
            actions.add_metric([action, reason], count)
        yield actions
        unwritten = CounterMetricFamily("ds01_events_unwritten", "Events that could not be written to the log", labels=["writer"])
        unwritten.add_metric(["ds01-watch"], self._own().unwritten)
        if said is not None:
            unwritten.add_metric(["ds01-gate"], said.events_lost)
        yield unwritten
        size = self._log.size()
        if size is not None:
            yield GaugeMetricFamily("ds01_event_log_size_bytes", "Size of the event log since its last rotation", value=size)
