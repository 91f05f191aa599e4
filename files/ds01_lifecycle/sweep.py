# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""One sweep: look, plan, warn, remember, act, remember again.

The order makes every death in between harmless: a warning is delivered before it is remembered (so it may come twice, never not at all),
its withdrawal after (so nobody is told that a stop is off which the next sweep still holds to), and a stop is remembered before it is
asked for (so its outcome is looked for by whoever comes next).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ds01 import disk_quota
from ds01.cgroup_fs import CgroupFs
from ds01.core.event import Event
from ds01.core.lifecycle import Leads, Puzzled, Remove, Stop, Warn, Withdraw
from ds01.core.lifecycle_history import History
from ds01.core.lifecycle_outlook import entry
from ds01.core.maintenance import drain_of
from ds01.core.notices import Notice, crossings, near_quota
from ds01.core.queue_notices import Watched, turns
from ds01.core.sweep_plan import Overdue, Plan, Step, Stopped, confirmed, plan
from ds01.docker_upstream import DockerClient
from ds01.event_log import EventLog
from ds01.exemption_file import ExemptionFile
from ds01.json_state import StateError
from ds01.mail import MailSettings
from ds01.notice_delivery import Ways, deliver
from ds01.policy_file import Resolver

from . import effects, journal, memory, quota_watch
from .look import Clocks, Looker, View
from .memory import Memory
from .settings import Places

_LOG = logging.getLogger("ds01.lifecycle")


@dataclass(frozen=True)
class Forecast:
    """What a sweep would do now, and what lies ahead; nothing was done."""

    view: View
    plan: Plan
    entries: tuple[Mapping[str, object], ...]


class Sweep:
    """Everything that one sweep needs, from outside."""

    def __init__(self, places: Places, resolver: Resolver, mail: MailSettings | None, clocks: Clocks | None = None) -> None:
        self._places = places
        self._resolver = resolver
        self._clocks = clocks or Clocks()
        self._docker = DockerClient(places.docker)
        self._looker = Looker(places, self._docker, resolver, self._clocks)
        self._events = EventLog(places.events)
        self._ways = Ways(places.inbox, places.pts, places.proc, mail)
        self._boot = memory.boot_id(places.proc)
        self._notices: list[Notice] = []

    def forecast(self) -> Forecast:
        """Look and plan, and leave everything as it is."""
        return self._forecast(memory.load(self._places, self._boot))

    def _forecast(self, before: Memory) -> Forecast:
        notifications = self._resolver.policies.current().notifications
        leads = Leads(notifications.idle_warning, notifications.runtime_warning)
        view = self._looker.look()
        now = self._clocks.wall()
        drain = drain_of(view.maintenance, leads.runtime, now, view.at)
        planned = plan(view.seen, before.histories, leads, view.at, drain, view.unseen)
        ahead = (entry(one, planned.histories.get(one.id, History()), leads, view.at, now, drain) for one in view.seen)
        return Forecast(view, planned, tuple(ahead))

    def run(self) -> int:
        """Sweep once; how many stops and removals failed. Raises DaemonUnavailable, DaemonRefused, PolicyError, OSError."""
        self._end_exemptions()
        before = memory.load(self._places, self._boot)
        forecast = self._forecast(before)
        if forecast.view.gpus_unknown:
            _LOG.warning("GPU use is not known (%s): containers with a process on a GPU are not idle now", forecast.view.gpus_unknown)
        told = self._quotas(forecast.view, before.told)
        watched = self._turns(forecast.view, before.queue)
        for step in forecast.plan.steps:
            if not isinstance(step.action, Withdraw):
                self._say(step)
        self._deliver(forecast.view)
        memory.save(self._places, self._boot, Memory(forecast.plan.histories, told, watched))
        for step in forecast.plan.steps:
            if isinstance(step.action, Withdraw):
                self._say(step)
        memory.publish(self._places, forecast.entries)
        histories, failed = self._act(forecast.plan)
        self._deliver(forecast.view)
        if histories != forecast.plan.histories:
            memory.save(self._places, self._boot, Memory(histories, told, watched))
        return failed

    def _deliver(self, view: View) -> None:
        deliver(self._notices, self._resolver.policies.current().notifications.channels, view.pids, self._ways)
        self._notices = []

    def _note(self, said: tuple[Event, Notice | None]) -> None:
        event, notice = said
        self._emit(event)
        if notice is not None:
            self._notices.append(notice)

    def _emit(self, event: Event) -> None:
        try:
            self._events.append(event)
        except OSError as error:
            _LOG.error("event log %s: %s; lost: %s of %s %s", self._events.path, error, event.kind, event.container, dict(event.details))

    def _say(self, step: Step) -> None:
        now = self._clocks.wall()
        action = step.action
        if isinstance(action, (Warn, Withdraw, Puzzled)):
            self._note(journal.of_warning(step, now))
        elif isinstance(action, Stopped):
            self._note(journal.of_stop(step.seen, action.reason, action.after_s, action.limit_s, now))
        elif isinstance(action, Overdue):
            error = f"still runs {step.seen.limits.stop_grace + 60} s after dockerd was asked to stop it"
            self._fail(step, action, error)

    def _fail(self, step: Step, what: Stopped | Overdue | Remove | str, error: str) -> None:
        _LOG.error("%s (%s): %s", step.seen.name, step.seen.id[:12], error)
        self._emit(journal.of_failure(step.seen, what, error, self._clocks.wall()))

    def _act(self, planned: Plan) -> tuple[dict[str, History], int]:
        steps = {step.seen.id: step for step in planned.steps if isinstance(step.action, (Stop, Remove))}
        results = effects.all_at_once({key: self._task(step) for key, step in steps.items()})
        histories = dict(planned.histories)
        failed = 0
        for key, result in results.items():
            step = steps[key]
            if not isinstance(result, effects.Outcome):
                failed += 1
                self._fail(step, step.action if isinstance(step.action, Remove) else "stop", result)
                if isinstance(step.action, Stop):
                    histories[key] = confirmed(histories[key])  # asked for again by the next sweep
            elif result is effects.Outcome.DONE:
                histories[key] = confirmed(histories[key])
                self._done(step)
        return histories, failed

    def _task(self, step: Step) -> Callable[[], effects.Result]:
        if isinstance(step.action, Stop):
            return partial(effects.stop, self._docker, step.seen.id, step.seen.limits.stop_grace)
        return partial(effects.remove, self._docker, step.seen.id)

    def _done(self, step: Step) -> None:
        now = self._clocks.wall()
        if isinstance(step.action, Stop):
            self._note(journal.of_stop(step.seen, step.action.reason, step.action.after_s, step.action.limit_s, now))
        elif isinstance(step.action, Remove):
            self._note(journal.of_removal(step.seen, step.action, now))

    def _quotas(self, view: View, told: Mapping[int, frozenset[str]]) -> dict[int, frozenset[str]]:
        served = None if view.queue is None else view.queue.served
        disk = partial(disk_quota.usage, settings=self._places.disk)
        books = quota_watch.Books(view.claims, served, CgroupFs(self._places.cgroups), disk)
        running = quota_watch.running_by_uid(view.seen)
        percent = self._resolver.policies.current().notifications.quota_percent
        after = dict(told)
        for uid in sorted({*running, *told, *(claim.uid for claim in view.claims), *(served or ())}):
            try:
                limits = self._resolver.limits(uid)
            except LookupError:
                continue
            found = quota_watch.uses(uid, limits, running.get(uid, 0), books)
            after[uid], fresh = crossings(told.get(uid, ()), found, percent)
            self._notices += [near_quota(uid, limits.user, use, self._clocks.wall()) for use in fresh]
        return {uid: names for uid, names in after.items() if names}

    def _turns(self, view: View, before: Watched) -> Watched:
        if view.queue is None:
            return before
        watched, said = turns(before, view.queue.waiters, view.claims, self._clocks.wall())
        self._notices += said
        return watched

    def _end_exemptions(self) -> None:
        now = self._clocks.wall()
        try:
            over = ExemptionFile(self._places.exemptions).drop_ended(now)
        except (StateError, OSError) as error:
            _LOG.error("%s; exemptions given by command are not looked at", error)
            return
        for one in over:
            details = {"why": "expired", "from": list(one.rules), "until": one.until, "reason": one.reason}
            self._emit(Event("grant.ended", now, one.user, container=one.container, by=journal.BY, details=details))
