# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The label ``ds01.keep``: a container's owner may ask that it be kept when it has stopped; an image may not."""

from __future__ import annotations

import pytest

from .gate_world import World, body_of, status_of


@pytest.mark.parametrize(("asked", "written"), [("true", "true"), ("True ", "true"), ("false", "false")])
def test_a_container_may_be_asked_to_be_kept(asked: str, written: str) -> None:
    assert body_of(World().create(Labels={"ds01.keep": asked}))["Labels"]["ds01.keep"] == written


@pytest.mark.parametrize("text", ["", "maybe", "1", "yes\n", "true\x00"])
def test_what_is_not_understood_is_refused(text: str) -> None:
    assert status_of(World().create(Labels={"ds01.keep": text})) == 400


@pytest.mark.parametrize("key", ["ds01.Keep", "DS01.keep", "ds01.keep.", "ds01.protected"])
def test_no_other_label_is_let_in_by_this_one(key: str) -> None:
    assert status_of(World().create(Labels={key: "true"})) == 400
