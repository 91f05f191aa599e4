# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The rules over a recorded day of thirty people, evaluated by the real Prometheus, against what the event log of that day says."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ds01.core.event_query import EventQuery
from ds01.core.gpu_hours import Holding, holdings, hours_by
from ds01.event_log import EventLog
from tests.integration.monitoring.lab_day import DAY_S, PEOPLE, Day, group_of
from tests.integration.monitoring.programs import Prometheus, prometheus
from tests.integration.monitoring.role import run, write_rules

ONE_PER_CENT = 0.01
NEEDED = (
    "user:ds01_gpu_hours_allocated:inc1m",
    "gpu:ds01_gpu_hours_allocated:inc1m",
    "user:ds01_gpu_hours_used:inc1m",
    "gpu:ds01_gpu_energy_kwh:inc1m",
    "user:ds01_gpu_energy_kwh:inc1m",
    "group:ds01_gpu_hours_allocated:inc1m",
    "user:ds01_gpu_hours_allocated:inc1h",
    "user:ds01_gpu_hours_allocated:inc1d",
)
# The blocks that promtool makes have no mark where a series ends; with this, a value counts until the next minute only, as with the marks.
_LOOK_BACK = "--query.lookback-delta=59s"


@dataclass
class Recorded:
    """The day as it was, what the event log tells of it, and Prometheus with the rules' series in it."""

    day: Day
    told: list[Holding]
    prometheus: Prometheus

    def hours(self, series: str) -> dict[str, float]:
        """The sum of a rule's minutes over the day, and an hour more."""
        return self.prometheus.query(f"sum_over_time({series}[{int(DAY_S) + 3600}s])", self.day.begin + DAY_S + 3600)


def rules_by_pass(rules: list[Path]) -> list[dict[str, list[dict[str, Any]]]]:
    """The needed rules in passes, by group: each pass reads only series that were there before it."""
    found: dict[str, tuple[str, str, dict[str, Any]]] = {}
    for path in rules:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if rule.get("record") in NEEDED:
                    found[rule["record"]] = (group["name"], group["interval"], rule)

    def depth(name: str) -> int:
        return 1 + max((depth(other) for other in found if other in found[name][2]["expr"]), default=-1)

    passes: list[dict[str, list[dict[str, Any]]]] = [{} for _ in range(1 + max(depth(name) for name in found))]
    for name, (group, interval, rule) in found.items():
        passes[depth(name)].setdefault(f"{group} {interval}", []).append(rule)
    assert set(found) == set(NEEDED)
    return passes


@pytest.fixture(scope="module")
def recorded(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """The day before yesterday, lived, scraped, and evaluated."""
    directory = tmp_path_factory.mktemp("day")
    day = Day((time.time() // DAY_S - 2) * DAY_S)
    log = directory / "events.jsonl"
    day.live(log)
    told = list(holdings(EventLog(str(log)).read(EventQuery()), day.begin + DAY_S))
    samples = directory / "day.om"
    with samples.open("w", encoding="ascii") as stream:
        stream.writelines(f"{line}\n" for line in day.scrapes())
        stream.write("# EOF\n")
    data = directory / "data"
    run(tools / "promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", samples, data)
    for number, groups in enumerate(rules_by_pass(write_rules(directory / "rules"))):
        path = directory / f"pass-{number}.yml"
        listed = [{"name": name.split(" ")[0], "interval": name.split(" ")[1], "rules": rules} for name, rules in groups.items()]
        path.write_text(yaml.safe_dump({"groups": listed}))
        with prometheus(tools, directory, "{}", _LOOK_BACK) as server:
            span = (f"--start={int(day.begin)}", f"--end={int(day.begin + DAY_S + 3600)}")
            made = directory / f"made-{number}"
            run(tools / "promtool", "tsdb", "create-blocks-from", "rules", *span, f"--url={server.url}", f"--output-dir={made}", path)
        # Not while a server runs on the data: it merges and deletes blocks as they come.
        for block in made.iterdir():
            block.rename(data / block.name)
    with prometheus(tools, directory, "{}", _LOOK_BACK) as server:
        yield Recorded(day, told, server)


def test_the_day_was_busy_and_the_events_tell_it_as_it_was(recorded: Recorded) -> None:
    lived: dict[str, float] = {}
    for claim, begin, end in recorded.day.held:
        lived[claim.user] = lived.get(claim.user, 0.0) + float(claim.equivalents) * (end - begin) / 3600
    told = hours_by(recorded.told, lambda one: one.user, recorded.day.begin, recorded.day.begin + DAY_S)
    assert set(lived) == set(PEOPLE)
    assert len(recorded.day.held) > 100
    assert sum(end - begin < 120 for _, begin, end in recorded.day.held) >= 5, "no container that crashed at once"
    assert sum(lived.values()) > 60
    # Who held a device for minutes only is known to a scrape, not to one per cent.
    assert min(lived.values()) > 0.2
    assert told == pytest.approx(lived, rel=1e-4)


def test_gpu_hours_of_the_rules_are_those_of_the_events_within_one_per_cent(recorded: Recorded) -> None:
    begin, end = recorded.day.begin, recorded.day.begin + DAY_S
    by_user = hours_by(recorded.told, lambda one: one.user, begin, end)
    assert recorded.hours("user:ds01_gpu_hours_allocated:inc1m") == pytest.approx(by_user, rel=ONE_PER_CENT)
    by_gpu = hours_by(recorded.told, lambda one: one.gpu_uuid, begin, end)
    assert recorded.hours("gpu:ds01_gpu_hours_allocated:inc1m") == pytest.approx(by_gpu, rel=ONE_PER_CENT)
    by_group = hours_by(recorded.told, lambda one: group_of(one.user), begin, end)
    assert recorded.hours("group:ds01_gpu_hours_allocated:inc1m") == pytest.approx(by_group, rel=ONE_PER_CENT)


def test_the_roll_up_of_a_day_is_the_same(recorded: Recorded) -> None:
    """Prometheus evaluates a group at an offset made of the file's name: the day that is summed ends when it was last looked at."""
    series, at = "user:ds01_gpu_hours_allocated:inc1d", recorded.day.begin + DAY_S + 3600
    looked = set(recorded.prometheus.query(f"last_over_time(timestamp({series})[1h:20s])", at).values())
    assert len(looked) == 1
    end = looked.pop() - 60
    by_user = hours_by(recorded.told, lambda one: one.user, end - DAY_S, end)
    daily = recorded.prometheus.query(f"last_over_time({series}[1h])", at)
    # A minute more or less at both ends is what the minutes of the rules can tell.
    assert daily == pytest.approx({user: hours for user, hours in by_user.items() if hours}, rel=ONE_PER_CENT, abs=2 / 60)


def test_used_hours_are_what_the_whole_gpus_computed(recorded: Recorded) -> None:
    day = recorded.day
    whole = [one for one in recorded.told if not re.search("/", one.device)]
    expected: dict[str, float] = {}
    for one in whole:
        expected[one.user] = expected.get(one.user, 0.0) + one.hours(day.begin, day.begin + DAY_S) * day.utilisation(one.gpu_uuid)
    found = recorded.hours("user:ds01_gpu_hours_used:inc1m")
    # Somebody else may hold the GPU in the rest of a minute, so that the minute's mean is a little of both.
    assert found == pytest.approx(expected, rel=0.02, abs=0.02)


def test_energy_is_what_the_counters_say_and_people_have_their_share(recorded: Recorded) -> None:
    truth = {uuid: joules / 3.6e6 for uuid, joules in recorded.day.joules.items()}
    assert recorded.hours("gpu:ds01_gpu_energy_kwh:inc1m") == pytest.approx(truth, rel=ONE_PER_CENT)
    of_people = sum(recorded.hours("user:ds01_gpu_energy_kwh:inc1m").values())
    assert 0.3 * sum(truth.values()) < of_people < sum(truth.values())
