# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Random lives of containers in large numbers, held against what is promised. Seeded, and without a search, so that a million is minutes.

Each history is one container over some sweeps. In between anything happens: sweeps are missed, the program is killed before or after it
wrote, files are lost, the host reboots, the wall clock is set, the container works, rests, is restarted, stopped and started, exemptions
come and go, limits and leads change, people queue up, a drain is announced, moved and called off. ``Truth`` keeps its own simple books of
what really happened, and of what its owner was told.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace

from ds01.core import sweep_plan
from ds01.core.activity import Sample
from ds01.core.idle_demand import under_demand
from ds01.core.lifecycle import Drain, Puzzled, Remove, Stop, Warn, Withdraw
from ds01.core.lifecycle_history import MAX_GAP_S, History
from ds01.core.lifecycle_reason import Reason
from ds01.core.lifecycle_state import histories_of, lasting, volatile
from ds01.core.limits import LifecycleLimits
from ds01.core.maintenance import Maintenance, drain_of
from ds01.core.sweep_plan import Overdue, Seen, Step, Stopped

from . import random_truth
from .random_truth import SLACK, SUBJECTS, BrokenPromise, Told, Truth

WAYS = ("gpu", "cpu", "net", "keep")


class Host:
    """One container on a host whose sweeps are programs that come and go."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.truth = Truth()
        self.policy = random_truth.limits(chance)
        self.leads = random_truth.leads(chance)
        self.subject = SUBJECTS[chance.choice(random_truth.KINDS)]
        self.exempt = False
        self.waiting = 0
        self.maintenance: Maintenance | None = None
        self.histories: dict[str, History] = {}
        self.judged_at = self.truth.now
        self.counted_work = False
        self.written_in = "boot-1"
        self.counts: Counter[str] = Counter()

    # --- what happens --------------------------------------------------------------------------------------------------------------

    def live(self) -> None:
        """Let time pass and things happen until the next sweep."""
        chance, truth = self.chance, self.truth
        roll = chance.random()
        seconds = 60.0 if roll < 0.4 else chance.uniform(1.0, 170.0) if roll < 0.75 else chance.uniform(200.0, 9000.0)
        if chance.random() < 0.3:
            truth.doing = chance.choice(("idle", "idle", "idle", "idle", "busy", "unknown"))
        truth.now += seconds
        truth.life += 0.0 if truth.down else seconds
        if truth.down:
            if chance.random() < 0.5:
                truth.down = False
                truth.unseen += MAX_GAP_S
                self._start(chance.uniform(0.0, 30.0))
            return
        event = chance.random()
        if event < 0.3:
            self._event(int(event * 100))

    def _books(self, hold: LifecycleLimits, fresh: bool) -> None:
        """Enter what was since the last sweep that was remembered; what nobody could see counts for nobody."""
        truth = self.truth
        if fresh:
            truth.quiet, truth.quiet_since, truth.known_quiet = 0.0, None, False
            truth.told.pop(Reason.IDLE, None)
            if hold.runtime_counts == "start":
                truth.told.pop(Reason.RUNTIME, None)
            return
        if truth.doing == "busy" or self.counted_work or (truth.doing == "unknown" and hold.unknown_use == "active"):
            truth.quiet, truth.quiet_since, truth.known_quiet = 0.0, None, False
            return
        seconds = truth.now - self.judged_at
        truth.known_quiet = truth.doing == "idle" or hold.unknown_use == "idle"
        truth.quiet_since = self.judged_at if truth.quiet_since is None else truth.quiet_since
        if truth.known_quiet and self.judged_at - truth.started >= hold.start_grace - SLACK:
            truth.quiet += min(seconds, MAX_GAP_S)

    def _event(self, which: int) -> None:
        chance, truth = self.chance, self.truth
        if which < 2:
            self._start(chance.uniform(0.0, 30.0))
        elif which < 3:
            self._reboot()
        elif which < 6:
            self.exempt = not self.exempt
        elif which < 8:
            self.policy = random_truth.limits(chance)
        elif which < 10:
            self.leads = random_truth.leads(chance)
        elif which < 13:
            self.waiting = chance.choice((0, 2, 3, 9))
        elif which < 15:
            truth.wall += chance.choice((-86400.0, -3600.0, -1.0, 3600.0, 1e7))  # daylight saving of a clock in local time, a bad clock
        elif which < 18:
            wall = truth.wall + truth.now
            ahead = chance.choice((120.0, 2000.0, 20000.0))
            self.maintenance = chance.choice((None, Maintenance(wall, None, "driver", "root", wall, wall + ahead)))
        elif which < 20:
            truth.down = True

    def _start(self, up: float) -> None:
        truth = self.truth
        truth.run, truth.started, truth.cpu, truth.net = truth.run + 1, truth.now - up, 0.0, 0
        self.counted_work = False

    def _reboot(self) -> None:
        truth = self.truth
        truth.wall += truth.now - 30.0
        truth.now, truth.boot = 30.0, truth.boot + 1
        truth.told.clear()
        self._start(10.0)
        self._files()

    def _files(self, *, lost: bool = False) -> None:
        """The next sweep knows what the files say; ``lost``: the one below /run has gone."""
        now = None if lost else json.loads(json.dumps(volatile(self.histories, self.written_in)))
        kept = json.loads(json.dumps(lasting(self.histories, {}, self.written_in)))
        self.written_in = f"boot-{self.truth.boot}"
        self.histories = histories_of(now, kept, self.written_in)

    # --- what is promised ----------------------------------------------------------------------------------------------------------

    @property
    def hold(self) -> LifecycleLimits:
        """The limits that hold now."""
        limits = replace(self.policy, idle=None, runtime=None) if self.exempt else self.policy
        return under_demand(limits, self.waiting, True)

    @property
    def drain(self) -> Drain | None:
        """The drain as a sweep sees it."""
        return drain_of(self.maintenance, self.leads.runtime, self.truth.wall + self.truth.now, self.truth.now)

    def limit(self, reason: Reason) -> float | None:
        """The limit that holds for a reason now; None where it is lifted."""
        hold, drain = self.hold, self.drain
        if reason is Reason.IDLE:
            return None if hold.idle is None else float(max(hold.idle, hold.idle_window))
        if reason is Reason.RUNTIME:
            return None if hold.runtime is None else float(hold.runtime)
        return None if drain is None else drain.lead

    def lead(self, reason: Reason, limit: float) -> float:
        """How long before a stop the owner must know."""
        if reason is Reason.MAINTENANCE:
            return limit
        return min(self.leads.idle if reason is Reason.IDLE else self.leads.runtime, limit / 2)

    # --- one sweep -----------------------------------------------------------------------------------------------------------------

    def sample(self) -> Sample:
        """What the sweep sees of what the container did since the last one."""
        truth, chance = self.truth, self.chance
        gpu: float | None = 0.0
        processes: int | None = 1
        keep: float | None = chance.choice((None, 7200.0)) if self.policy.keep_alive is not None else None
        if truth.doing == "busy":
            way = chance.choice(WAYS)
            if way == "gpu":
                gpu = 60.0
            elif way == "cpu":
                truth.cpu, self.counted_work = truth.cpu + 9000.0, True
            elif way == "net":
                truth.net, self.counted_work = truth.net + 10**12, True
            else:
                keep = chance.uniform(0.0, 3600.0)
        elif truth.doing == "unknown":
            gpu, processes = None, chance.choice((None, 1))
        return Sample(truth.now, gpu, processes, truth.cpu, truth.net, keep)

    def sweep(self) -> bool:
        """One sweep; False when the container was stopped. Raises BrokenPromise."""
        truth, chance, hold = self.truth, self.chance, self.hold
        if truth.down:
            return self._sweep_of_one_that_is_down()
        before = self.histories.get("c", History())
        fresh = before.last is None or before.run != str(truth.run)
        sample = self.sample()
        kept = truth.quiet, truth.quiet_since, truth.known_quiet, dict(truth.told)
        self._books(hold, fresh)
        one = Seen("c", "train", "running", self.subject, hold, sample, str(truth.run), truth.now - truth.started)
        planned = sweep_plan.plan([one], self.histories, self.leads, truth.now, self.drain)
        killed = chance.random() < 0.05
        stopped = self._judge(planned.steps, killed)
        if killed:  # warnings are out and nothing is remembered: the next one decides from what the last one left
            truth.quiet, truth.quiet_since, truth.known_quiet, truth.told = kept
            return True
        self._nothing_forgotten(stopped, planned.histories["c"])
        self.histories, self.judged_at, self.counted_work = dict(planned.histories), truth.now, False
        if chance.random() < 0.1:
            self._files(lost=chance.random() < 0.1)
        return not stopped or chance.random() < 0.3  # dockerd was asked, and forgot

    def _sweep_of_one_that_is_down(self) -> bool:
        """It does not run: nothing but the end of a stop may be said; what its owner was told is over."""
        one = Seen("c", "train", "exited", self.subject, self.hold)
        planned = sweep_plan.plan([one], self.histories, self.leads, self.truth.now, self.drain)
        for step in planned.steps:
            if not isinstance(step.action, Stopped):
                raise BrokenPromise(f"{step.action}: it does not run, and is kept for ever")
        if self.chance.random() < 0.95:
            self.histories = dict(planned.histories)
            self.truth.told.clear()
            self.truth.quiet, self.truth.quiet_since, self.truth.known_quiet = 0.0, None, False
        return True

    def _judge(self, steps: tuple[Step, ...], killed: bool) -> bool:
        """Whether it is to be stopped, and may be. A killed sweep delivered its warnings, but the next one does not build on them."""
        truth = self.truth
        stop = False
        for step in steps:
            action = step.action
            self.counts[type(action).__name__] += 1
            if isinstance(action, Warn):
                self._warned(action, killed)
            elif isinstance(action, Withdraw):
                if not killed:  # said only when it is remembered
                    truth.told.pop(action.reason, None)
            elif isinstance(action, Stop):
                stop = True
                self._stop(action)
            elif isinstance(action, Remove):
                raise BrokenPromise(f"{action}: it runs")
            elif not isinstance(action, (Puzzled, Overdue, Stopped)):
                raise BrokenPromise(f"{action}: what is this?")
        return stop

    def _warned(self, action: Warn, killed: bool) -> None:
        limit = self.limit(action.reason)
        if limit is None:
            raise BrokenPromise(f"{action}: warned of a limit that is lifted")
        lead = self.lead(action.reason, limit)
        if action.in_s < lead - SLACK:
            raise BrokenPromise(f"{action}: promised {lead} s, given {action.in_s}")
        if not killed:
            self.truth.told[action.reason] = Told(self.truth.now, self.truth.now + action.in_s, lead)

    def _stop(self, action: Stop) -> None:
        truth, limit = self.truth, self.limit(action.reason)
        self.counts[action.reason.value] += 1
        if limit is None:
            raise BrokenPromise(f"{action}: stopped though exempt")
        told = truth.told.get(action.reason)
        if told is None:
            raise BrokenPromise(f"{action}: stopped without a warning")
        if truth.now < told.until - SLACK or truth.now - told.at < told.lead - SLACK:
            raise BrokenPromise(f"{action}: stopped at {truth.now}, promised not before {told.until}")
        if action.reason is Reason.IDLE:
            if truth.quiet_since is None or not truth.known_quiet:
                raise BrokenPromise(f"{action}: stopped as idle though it works, or nobody knows")
            if truth.now - truth.quiet_since < limit - SLACK:
                raise BrokenPromise(f"{action}: idle for {truth.now - truth.quiet_since} s only")
        elif action.reason is Reason.RUNTIME:
            spent = truth.now - truth.started if self.policy.runtime_counts == "start" else truth.life
            if spent < limit - 31.0 - truth.unseen:  # a start may lie up to 30 s back before it is seen
                raise BrokenPromise(f"{action}: it has run for {spent} s only")
        elif self.maintenance is None or truth.now + truth.wall < (self.maintenance.drain_by or 0) - SLACK:
            raise BrokenPromise(f"{action}: stopped before the drain's deadline")

    def _nothing_forgotten(self, stopped: bool, after: History) -> None:
        """A warning that was due is out after this sweep, and a stop that was due was made."""
        if stopped or after.asked is not None:
            return
        truth, limit = self.truth, self.limit(Reason.IDLE)
        if limit is not None and truth.quiet >= limit - self.lead(Reason.IDLE, limit) + SLACK:
            told = truth.told.get(Reason.IDLE)
            if told is None:
                raise BrokenPromise(f"idle for {truth.quiet} of {limit} s and not warned")
            if truth.known_quiet and truth.quiet >= limit + SLACK and truth.now >= told.until + SLACK:
                raise BrokenPromise(f"idle for {truth.quiet} of {limit} s, warned for {truth.now - told.at} s, and not stopped")
        drain = self.drain
        if drain is not None and truth.now >= drain.at - drain.lead and Reason.MAINTENANCE not in truth.told:
            raise BrokenPromise("a drain is near and nobody was warned")


def history(seed: int, number: int) -> Counter[str]:
    """One history; raises BrokenPromise naming seed and number."""
    host = Host(random.Random(f"{seed}/{number}"))
    sweeps = host.chance.choice((6, 12, 30))
    try:
        for _ in range(sweeps):
            host.live()
            if not host.sweep():
                break
    except BrokenPromise as broken:
        raise BrokenPromise(f"history {seed}/{number}: {broken}") from None
    return host.counts


def histories(count: int, seed: int = 1) -> Counter[str]:
    """So many histories; what was done in them, counted."""
    total: Counter[str] = Counter()
    for number in range(count):
        total.update(history(seed, number))
    return total
