# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Gaps are stated, moments are not; a clock that is set says so and makes no gap."""

from __future__ import annotations

from ds01.core.part_changes import Part, Parts, part_changes


def states(*looks: tuple[float, float, dict[str, Part]]) -> list[list[dict[str, object]]]:
    parts, said = Parts(), []
    for at, uptime, now in looks:
        events, parts = part_changes(parts, now, at, uptime)
        said.append([dict(event.details) for event in events])
    return said


def test_a_gap_is_stated_with_its_length() -> None:
    away = {"docker": Part("refused")}
    said = states(
        (1000.0, 10.0, {"docker": Part(None)}), (1005.0, 15.0, away), (1010.0, 20.0, away), (1042.5, 52.5, {"docker": Part(None)})
    )
    assert [len(one) for one in said] == [0, 1, 0, 1]
    assert said[1][0]["state"] == "away: refused"
    assert said[3][0] == {"part": "docker", "state": "ok", "away_s": 37.5, "away_from": "1970-01-01T00:16:45.000Z"}


def test_a_moment_s_silence_is_none() -> None:
    away, here = {"gpu": Part("no entry", 12.0)}, {"gpu": Part(None, 12.0)}
    assert states((1000.0, 10.0, here), (1005.0, 15.0, away), (1010.0, 20.0, away), (1015.0, 25.0, here)) == [[], [], [], []]
    assert [len(one) for one in states((1005.0, 15.0, away), (1018.0, 28.0, away), (1020.0, 30.0, here))] == [0, 1, 1]


def test_a_clock_that_is_set_is_said_and_ages_nothing() -> None:
    away = {"docker": Part("refused")}
    said = states((1000.0, 10.0, away), (1005.1, 15.0, away), (-2590.0, 20.0, away), (-2585.0, 25.0, {"docker": Part(None)}))
    assert [[one["part"] for one in look] for look in said] == [["docker"], [], ["clock"], ["docker"]]
    assert said[2][0]["step_s"] == -3600.1
    assert said[3][0]["away_s"] == 15.0
