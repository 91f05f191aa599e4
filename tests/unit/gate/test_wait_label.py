# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The label ``ds01.gpu.wait``: what people may write, and that nobody but the container's own request can set it."""

from __future__ import annotations

import pytest

from tests.unit.gate.gate_world import World, body_of, status_of


@pytest.mark.parametrize("text", ["30m", "0", "7d", "90s", "1h30m"])
def test_it_is_kept_as_it_was_written(text: str) -> None:
    labels = body_of(World().create(Labels={"ds01.gpu": "1", "ds01.gpu.wait": text}))["Labels"]
    assert labels["ds01.gpu.wait"] == text
    assert "ds01.gpu" not in labels


@pytest.mark.parametrize("text", ["", "30", "-1m", "1.5h", "8d", "9999w", "30m ", "for ever", "30m\n", "٣m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    assert status_of(World().create(Labels={"ds01.gpu.wait": text})) == 400


@pytest.mark.parametrize("key", ["ds01.gpu.Wait", "DS01.gpu.wait", "ds01.gpu.wait.", "ds01.gpu.waits"])
def test_only_under_its_own_name(key: str) -> None:
    assert status_of(World().create(Labels={key: "30m"})) == 400
