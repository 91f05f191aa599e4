# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""One look at the fence: who is exempt now, what has to change for that, and doing it. Under one lock; again is nothing."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ds01.bare_metal_grants import GRANTS, read
from ds01.core.bare_metal import Exempt, FencePlan, exempt_people, plan, user_unit
from ds01.core.device_filter import character_classes
from ds01.core.policy_problems import PolicyError
from ds01.fence_units import FenceUnits
from ds01.policy_file import PolicyFile

from .exemptions import from_policy
from .settings import Settings

FENCED, EXEMPT, OFF = "fenced", "exempt", "off"


@dataclass(frozen=True)
class Outcome:
    """What was found and done, for the journal and for ``list``. ``problems`` are said and stop nothing."""

    exempt: dict[int, Exempt]
    plan: FencePlan
    problems: tuple[str, ...]


class Fence:
    """``policy``, ``grants`` and ``lock`` are paths; ``clock`` gives seconds since the epoch, UTC."""

    def __init__(
        self,
        settings: Settings,
        units: FenceUnits,
        *,
        policy: str = "/etc/ds01/policy.json",
        grants: Path = GRANTS,
        lock: Path = Path("/run/ds01/fence.lock"),
        proc_devices: Path = Path("/proc/devices"),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.units = units
        self.grants = grants
        self.clock = clock
        self._policy = policy
        self._lock = lock
        self._proc_devices = proc_devices

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One fence at a time."""
        self._lock.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def look(self) -> Outcome:
        """Who is exempt and what would have to change; changes nothing.

        Without a policy nobody is exempt by policy: who was is fenced, and a problem says so. Admins' grants hold on.
        """
        now = self.clock()
        files = read(self.grants)
        problems = list(files.problems)
        live_users = self.units.live_users()
        drop_ins = self.units.drop_ins()
        by_policy: list[Exempt] = []
        try:
            policy = PolicyFile(self._policy).current()
            by_policy = from_policy(policy, now, {*live_users, *drop_ins}, [Path(p) for p in self.settings.home_roots])
        except PolicyError as error:
            problems.append(str(error))
        exempt = exempt_people(by_policy, files.grants, now)
        rules = self._rules(exempt, live_users)
        recorded = self.units.recorded()
        live = {unit: recorded.get(unit, "") for unit in rules}
        return Outcome(exempt, plan(exempt, drop_ins, live, rules), tuple(problems))

    def apply(self) -> Outcome:
        """Make it so."""
        with self.locked():
            outcome = self.look()
            for uid in outcome.plan.open:
                self.units.write(uid)
            for uid in outcome.plan.close:
                self.units.remove(uid)
            if outcome.plan.open or outcome.plan.close or outcome.plan.nudge:
                self.units.reload()
            for unit in outcome.plan.nudge:
                self.units.nudge(unit)
            self.units.record(self._followed(outcome))
            self.units.wake_at(outcome.plan.next_change)
            return outcome

    def _followed(self, outcome: Outcome) -> dict[str, str]:
        """What the units that still run follow now. One that appeared meanwhile is not known, and nudged next time."""
        rules = self._rules(outcome.exempt, self.units.live_users())
        known = self.units.recorded()
        return {unit: rule for unit, rule in rules.items() if unit in outcome.plan.nudge or known.get(unit) == rule}

    def _rules(self, exempt: dict[int, Exempt], live_users: list[int]) -> dict[str, str]:
        """Running unit → the rule that ought to hold, with the classes of devices that its filter was made of."""
        services = self.units.live_services(self.settings.services)
        if not self.settings.enforced:
            return dict.fromkeys([*(user_unit(uid) for uid in live_users if uid != 0), *services], OFF)
        classes = self._device_classes()
        rules = {user_unit(uid): EXEMPT if uid in exempt else f"{FENCED} {classes}" for uid in live_users if uid != 0}
        rules.update(dict.fromkeys(self.units.live_services(self.settings.services), f"{FENCED} {classes}"))
        return rules

    def _device_classes(self) -> str:
        try:
            found = sorted(character_classes(self._proc_devices.read_text(encoding="utf-8")))
        except OSError:
            return ""
        return hashlib.sha256(repr(found).encode()).hexdigest()[:12]
