# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Units that hold GPUs are stopped for a change and started again, whatever happens in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from ds01.paused_units import PauseError, paused

SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
  "is-active --quiet running.service"|"is-active --quiet stubborn.service") exit 0 ;;
  "is-active "*) exit 3 ;;
  "stop stubborn.service") echo "Job for stubborn.service canceled." >&2; exit 1 ;;
esac
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that knows two running units and notes what it is asked."""
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def asked(calls: Path) -> list[str]:
    return [line for line in calls.read_text().splitlines() if not line.startswith("is-active")]


def test_only_what_runs_is_stopped_and_started_again(calls: Path) -> None:
    with paused(["absent.service", "running.service"]) as units:
        assert units == ("running.service",)
        assert asked(calls) == ["stop running.service"]
    assert asked(calls) == ["stop running.service", "--no-block start running.service"]


def test_a_failure_in_between_starts_them_too(calls: Path) -> None:
    with pytest.raises(ZeroDivisionError), paused(["running.service"]):
        raise ZeroDivisionError
    assert asked(calls)[-1] == "--no-block start running.service"


def test_a_unit_that_does_not_stop_prevents_the_change(calls: Path) -> None:
    with (
        pytest.raises(PauseError, match=r"systemctl stop stubborn\.service: exit status 1: Job for"),
        paused(["running.service", "stubborn.service"]),
    ):
        pytest.fail("the change was made")
    assert "--no-block start running.service" in asked(calls)


def test_no_unit_needs_no_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with paused([]) as units:
        assert units == ()
    with pytest.raises(PauseError, match="not installed"), paused(["running.service"]):
        pytest.fail("the change was made")
