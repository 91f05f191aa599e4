# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A sweep that dies anywhere between its decision and its effects: the next one keeps what was promised, and does what was due once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ds01_lifecycle import effects

from ds01 import inbox, json_state
from ds01.event_log import EventLog

from .lifecycle_world import POLICY, World, world

STEP = 60.0
LEAD = 180.0
WARNED_AT, STOPPED_AT = 4, 7
"""The sweep that warns, and the one that stops, where none dies."""


class Killed(BaseException):
    """What kill -9 is to a program, as far as its files go."""


class Death:
    """Lets so many effects happen and dies before, or right after, the next."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self.after = False
        for where, name in ((EventLog, "append"), (inbox, "add"), (json_state, "write"), (effects, "stop")):
            patch.setattr(where, name, self._wrapped(getattr(where, name)))

    def _wrapped(self, effect: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if self.left is None:
                return effect(*given, **named)
            self.left -= 1
            if self.left < 0 and not self.after:
                raise Killed
            result = effect(*given, **named)
            if self.left < 0:
                raise Killed
            return result

        return call


def policy() -> dict[str, Any]:
    found = copy.deepcopy(POLICY)
    found["defaults"]["lifecycle"].update(idle="6m", idle_window="1m", container_hold=None)
    return found


def one_life(host: World, death: Death, dies_in: int, at: int) -> bool:
    """A container that idles until it is stopped, sweep by sweep; whether the sweep died before it was done."""
    host.policy(policy())
    container = host.container(1)
    died = False
    for sweep in range(14):
        death.left = at if sweep == dies_in else None
        try:
            host.minutes(1, STEP)
        except Killed:
            died = True
        death.left = None
    assert host.dockerd.containers[container]["State"] == "exited", "it was forgotten"
    return died


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("dies_in", [WARNED_AT, STOPPED_AT], ids=["warning", "stopping"])
def test_wherever_a_sweep_dies_the_next_keeps_its_promises(
    dies_in: int, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    death, at = Death(monkeypatch), 0
    death.after = after
    while True:
        root = tmp_path / str(at)
        root.mkdir()
        with world(root) as host:
            begin = host.now
            died = one_life(host, death, dies_in, at)
            kinds = [(one["kind"], one["time"]) for one in host.events()]
            asked = [call for call in host.dockerd.calls if call.startswith("POST")]
            texts = host.inbox()
        assert asked == [asked[0]], (at, asked)
        said = [kind for kind, _ in kinds]
        assert "lifecycle.stopped" in said and "lifecycle.withdrawn" not in said, (at, said)
        assert any("will be stopped" in text for text in texts), (at, texts)
        assert any("was stopped at" in text for text in texts), (at, texts)
        order = [next(i for i, text in enumerate(texts) if words in text) for words in ("will be stopped", "was stopped at")]
        assert order == sorted(order)
        assert len(said) <= 4, (at, said)
        assert begin < host.now
        if not died:
            break
        at += 1
    assert at >= 3, "the sweep had hardly anything to die in"


def test_what_a_death_left_half_written_is_not_read(tmp_path: Path) -> None:
    with world(tmp_path) as host:
        host.policy(policy())
        container = host.container(1)
        host.minutes(WARNED_AT + 2)
        volatile = Path(host.places.volatile)
        volatile.write_text(volatile.read_text()[:-40])
        (volatile.parent / f".{volatile.name}.tmp").write_text("{")
        host.minutes(3)
        assert host.dockerd.containers[container]["State"] == "running", "stopped on a warning that nobody can know of"
        host.minutes(6)
        assert host.dockerd.containers[container]["State"] == "exited"
        assert [kind for kind, _, _ in host.said()].count("lifecycle.warned") == 2
