# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A converge stops no container: what dockerd can reload it reloads, and a restart that would kill waits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.daemon_restart import RELOADABLE, Verdict, decide

CONFIG, UNIT = "/etc/docker/daemon.json", "/etc/systemd/system/docker.service.d/10-ds01.conf"
LIVE = {"live-restore": True, "icc": False}


def files(config: dict[str, Any], unit: str = "u") -> dict[str, str]:
    return {CONFIG: json.dumps(config), UNIT: unit}


@pytest.mark.parametrize(
    ("started", "wanted", "containers", "allow", "expected"),
    [
        (files(LIVE), files(LIVE), 5, False, Verdict.NOTHING),
        (files(LIVE), files({**LIVE, "debug": True}), 5, False, Verdict.RELOAD),
        (files(LIVE), files({**LIVE, "icc": True}), 5, False, Verdict.RESTART),
        (files(LIVE), files({"icc": False}), 5, False, Verdict.RELOAD),
        (files({"icc": False}), files({"icc": True}), 5, False, Verdict.PENDING),
        (files({"icc": False}), files({"icc": True}), 0, False, Verdict.RESTART),
        (files({"icc": False}), files({"icc": True}), 5, True, Verdict.RESTART),
        (files({}), files({"live-restore": True}), 5, False, Verdict.RELOAD),
        (files(LIVE), files(LIVE, "other"), 5, False, Verdict.RESTART),
        (files({}), files({}, "other"), 5, False, Verdict.PENDING),
        (None, files(LIVE), 5, False, Verdict.PENDING),
        (None, files(LIVE), 0, False, Verdict.RESTART),
        ({CONFIG: "not json", UNIT: "u"}, files({"icc": True}), 5, False, Verdict.PENDING),
    ],
)
def test_verdicts(started: dict[str, str] | None, wanted: dict[str, str], containers: int, allow: bool, expected: Verdict) -> None:
    assert decide(True, started, wanted, CONFIG, containers, allow).verdict is expected


def test_a_daemon_that_does_not_run_is_started() -> None:
    assert decide(False, None, files(LIVE), CONFIG, 0, False).verdict is Verdict.START


def test_the_keys_that_differ_are_named() -> None:
    assert decide(True, files(LIVE), files({**LIVE, "icc": True}, "v"), CONFIG, 0, False).reasons == ("daemon.json: icc", UNIT)


CONFIGS = st.dictionaries(st.sampled_from([*sorted(RELOADABLE), "icc", "data-root", "log-opts"]), st.booleans(), max_size=6)


@given(CONFIGS, CONFIGS, st.integers(1, 9))
def test_running_containers_are_only_risked_when_allowed(old: dict[str, Any], new: dict[str, Any], containers: int) -> None:
    verdict = decide(True, files(old), files(new), CONFIG, containers, False).verdict
    assert verdict is not Verdict.RESTART or old.get("live-restore") is True
    assert (verdict is Verdict.NOTHING) == (old == new)
