# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A day of a lab in a second: thirty people want GPUs, get them, crash, come back, and go home.

The day leaves what a real one leaves: an event log, written by the gate's recorder, and what Prometheus would have scraped of the watcher,
made by its own metrics. Neither is made from the other.
"""

from __future__ import annotations

import heapq
import io
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from ds01_gate.audit import Audit
from ds01_gate.recorder import Recorder
from ds01_watch.metrics import _claims, _gpus
from ds01_watch.picture import Picture

from ds01.core.claim import Claim, ClaimedDevice
from ds01.core.devices import Gpu, Inventory
from ds01.event_log import EventLog

PEOPLE = tuple(f"student{number}" for number in range(1, 23)) + tuple(f"faculty{number}" for number in range(1, 9))
SCRAPE_S = 15.0  # the default of the role
_SCRAPE_AT_S = 11.137
_OPENS_S, _CLOSES_S, DAY_S = 2 * 3600.0, 23.5 * 3600.0, 24 * 3600.0
_SLICES = (("3g.20gb", 9, 0, 3), ("2g.10gb", 14, 4, 2), ("2g.10gb", 14, 6, 2))
_SCRAPED = (
    "ds01_claim_gpu_equivalents",
    "ds01_gpu_utilization_ratio",
    "ds01_gpu_power_watts",
    "ds01_gpu_energy_joules_total",
    "ds01_gpu_healthy",
)


def group_of(user: str) -> str:
    """The group of the policy."""
    return "faculty" if user.startswith("faculty") else "students"


@dataclass
class Day:
    """``begin`` is a midnight, seconds since the epoch, UTC. ``held``: what the claims held, from when to when, as it really was."""

    begin: float
    seed: int = 7
    held: list[tuple[Claim, float, float]] = field(default_factory=list)
    joules: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self.gpus = tuple(Gpu(f"GPU-{index}", index, index, "NVIDIA A100-SXM4-40GB", 40960, index >= 4, 7) for index in range(8))
        self._free = [_whole(gpu) for gpu in self.gpus[:4]] + [_slice(gpu, *one) for gpu in self.gpus[4:] for one in _SLICES]
        self._begun: dict[str, float] = {}
        self._utilisation = {gpu.uuid: self._random.uniform(0.3, 0.98) for gpu in self.gpus}

    def live(self, log: Path) -> None:
        """Let the day pass; the gate's recorder writes the events to ``log``."""
        self._now = self.begin
        recorder = Recorder(EventLog(str(log)), Audit(io.StringIO()), lambda: self._now)
        agenda = [(self.begin + self._random.uniform(_OPENS_S, _CLOSES_S - 4 * 3600), number) for number in range(len(PEOPLE))]
        running: list[tuple[float, int, str, Claim]] = []
        heapq.heapify(agenda)
        count = 0
        while agenda or running:
            if running and (not agenda or running[0][0] <= agenda[0][0]):
                self._now, number, what, claim = heapq.heappop(running)
                following = self._ends(recorder, what, claim)
                if following is not None:
                    count += 1
                    heapq.heappush(running, (following[0], count, following[1], claim))
                continue
            self._now, number = heapq.heappop(agenda)
            if self._now > self.begin + _CLOSES_S - 600:
                continue
            claim = self._wants(recorder, number)
            if claim is not None:
                count += 1
                heapq.heappush(running, (self._until(), count, "dies", claim))
            patience = 5400 if claim is not None else 300
            heapq.heappush(agenda, (self._now + self._random.expovariate(1 / patience), number))
        recorder.start()
        recorder.stop(60)
        assert recorder.lost == 0

    def _until(self) -> float:
        """Most train for hours, some crash within a minute."""
        lasts = self._random.uniform(15, 90) if self._random.random() < 0.2 else self._random.lognormvariate(8.6, 0.9)
        return min(self._now + lasts, self.begin + _CLOSES_S)

    def _wants(self, recorder: Recorder, number: int) -> Claim | None:
        if not self._free:
            return None
        device = self._free.pop(self._random.randrange(len(self._free)))
        user = PEOPLE[number]
        name = f"c{self._random.getrandbits(48):012x}"
        hold = self._random.choice((0, 0, 300, 900))
        claim = Claim(name, 1000 + number, user, name * 5, f"{user}-box", "count=1", (device,), self._now, name, hold=hold)
        self._begun[name] = self._now
        recorder.claim("claim.granted", claim, request=claim.request, fresh=True)
        return claim

    def _ends(self, recorder: Recorder, what: str, claim: Claim) -> tuple[float, str] | None:
        closing = self._now >= self.begin + _CLOSES_S
        if what == "dies" and claim.hold and not closing:
            recorder.claim("claim.held", claim, until=self._now + claim.hold)
            if self._random.random() < 0.4:
                return self._now + self._random.uniform(1, claim.hold), "starts again"
            return self._now + claim.hold, "hold is over"
        if what == "starts again":
            recorder.claim("claim.granted", replace(claim, renewed_at=self._now), request=claim.request, fresh=False)
            return self._until(), "dies"
        recorder.claim("claim.released", claim, why="its hold is over" if what == "hold is over" else "the container ended")
        self.held.append((claim, self._begun[claim.id], self._now))
        self._free.append(claim.devices[0])
        return None

    def scrapes(self) -> Iterator[str]:
        """Lines of OpenMetrics, with times: every scrape of the day and of the hour after it. One in fifty fails."""
        starts = sorted(self.held, key=lambda one: one[1])
        ends: list[tuple[float, int, Claim]] = []
        active: dict[str, Claim] = {}
        position, at = 0, self.begin + _SCRAPE_AT_S
        people = [f'ds01_user_info{{uid="{1000 + i}",user="{user}",group="{group_of(user)}"}} 1' for i, user in enumerate(PEOPLE)]
        while at < self.begin + DAY_S + 3600:
            while position < len(starts) and starts[position][1] <= at:
                claim, _, end = starts[position]
                heapq.heappush(ends, (end, position, claim))
                active[claim.id] = claim
                position += 1
            while ends and ends[0][0] <= at:
                active.pop(heapq.heappop(ends)[2].id)
            fails = self._random.random() < 0.02
            sensors = self._sensors(active)
            yield f'up{{job="ds01"}} {int(not fails)} {at:.3f}'
            if not fails:
                yield from (f"{line} {at:.3f}" for line in (*people, *_samples(self._picture(at, sensors, tuple(active.values())))))
            at += SCRAPE_S

    def _sensors(self, active: dict[str, Claim]) -> dict[str, dict[str, Any]]:
        held: dict[str, Fraction] = defaultdict(Fraction)
        for claim in active.values():
            held[claim.devices[0].gpu_uuid] += claim.devices[0].equivalents
        found: dict[str, dict[str, Any]] = {}
        for gpu in self.gpus:
            busy = self._utilisation[gpu.uuid] * float(held[gpu.uuid])
            power = 55.0 + 345.0 * busy
            found[gpu.uuid] = {"power": power, "energy": self.joules[gpu.uuid]}
            self.joules[gpu.uuid] += power * SCRAPE_S
            if not gpu.mig_enabled:
                found[gpu.uuid]["utilisation"] = 100.0 * busy
        return found

    def _picture(self, at: float, sensors: dict[str, dict[str, Any]], claims: tuple[Claim, ...]) -> Picture:
        return Picture(at, Inventory(self.gpus, "550.1", True, at), sensors, {}, (), (), claims, 1.0, None, None, None)

    def utilisation(self, gpu_uuid: str) -> float:
        """The share of time in which that GPU computes while somebody holds it."""
        return self._utilisation[gpu_uuid]


def _whole(gpu: Gpu) -> ClaimedDevice:
    return ClaimedDevice(gpu.key, gpu.uuid, gpu.minor, Fraction(1), gpu.memory_mib)


def _slice(gpu: Gpu, profile: str, profile_id: int, start: int, slices: int) -> ClaimedDevice:
    key = f"{gpu.uuid}/{profile_id}@{start}"
    return ClaimedDevice(key, gpu.uuid, gpu.minor, Fraction(slices, 7), 5120 * slices, profile, start + 1, 0, f"MIG-{key}")


def _samples(picture: Picture) -> Iterator[str]:
    for family in (*_claims(picture), *_gpus(picture)):
        for sample in family.samples:
            if sample.name in _SCRAPED:
                labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
                yield f"{sample.name}{{{labels}}} {float(sample.value)!r}"
